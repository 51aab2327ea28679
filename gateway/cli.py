"""The command line: which commands there are, and where. What a command needs is imported with it, for all that there is takes longer than most of them."""

from importlib import import_module
from typing import Any, cast

import click

from gateway.batch import printing
from gateway.composing import maintained

_COMMANDS = {
    "collect-when-due": "gateway.due:collect_when_due_command",
    "doctor": "gateway.doctor:doctor",
    "gc": "gateway.collection:gc",
    "retention": "gateway.retention:retention",
    "scrub": "gateway.scrub:scrub",
    "serve": "gateway.serve:serve",
    "settings": "gateway.options:settings",
}
"""The module of each command, and its name there."""


class _Commands(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's interface
        """See click.Group.list_commands."""
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's interface
        """See click.Group.get_command."""
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(":")
        return cast("click.Command", getattr(import_module(module), name))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See click.Group.parse_args, which prints the help."""
        with printing():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """See click.Group.invoke."""
        with printing():
            return super().invoke(ctx)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="moorage")
@click.pass_context
def main(context: click.Context) -> None:
    """A container registry whose only state is an S3-compatible bucket."""
    context.obj = maintained


if __name__ == "__main__":
    main()
