"""Log lines: for people on a terminal, JSON elsewhere; one line an event, on standard error."""

import logging
import sys

import structlog

# Local variables stay out of the log: headers and bodies are among them.
_TRACEBACKS = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)


def configure(style: str) -> None:
    """Set up logging for this process; `style` is auto, text or json."""
    as_text = style == "text" or (style == "auto" and sys.stderr.isatty())
    renderers = (
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if as_text
        else [structlog.processors.ExceptionRenderer(_TRACEBACKS), structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso"), *renderers],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
