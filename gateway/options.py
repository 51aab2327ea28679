"""What the commands share: a flag for each setting, and what was given on the command line."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import click
import msgspec

from gateway.exposure import Exposure
from gateway.settings import SettingError, SettingInfo, Settings, describe, load, overridden
from storage.objects.contract import Capabilities

_START = "_MOORAGE_START"  # on the way to a child; not a setting

config_option = click.option(
    "--config", type=click.Path(path_type=Path), help="The settings file. [default: moorage.toml, if it exists]"
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Print no line for each removal, only the sums.")
offline_option = click.option("--offline", is_flag=True, help="No gateway serves, nor will one until this ends.")


class Given(msgspec.Struct, frozen=True):
    """The settings file and flags; workers and other children read them from their environment, and what `serve` has found out too.

    That is the file of the `epoch`, where metrics are served, the directory in which workers keep them, and what the `store` can do, if
    that had to be found out.
    """

    flags: dict[str, Any]
    config: str | None = None
    epoch: str | None = None
    exposure: Exposure = Exposure()
    metrics: str | None = None
    store: Capabilities | None = None

    def settings(self) -> Settings:
        """What they and the environment come to; raises SettingError."""
        return load(self.flags, os.environ, self._file)

    def overridden(self) -> Iterator[str]:
        """See gateway.settings.overridden."""
        return overridden(self.flags, os.environ, self._file)

    def over(self, others: "Given") -> "Given":
        """These rather than `others`, flag by flag."""
        return Given({**others.flags, **self.flags}, self.config or others.config)

    def hand_down(self) -> None:
        """Leave it to the processes that this one starts, and to itself; they import nothing from the working directory."""
        os.environ["PYTHONSAFEPATH"] = "1"
        os.environ[_START] = msgspec.json.encode(self).decode()

    @classmethod
    def handed_down(cls) -> Self:
        """What the process that serves has left."""
        return msgspec.json.decode(os.environ[_START], type=cls)

    @property
    def _file(self) -> Path | None:
        return Path(self.config) if self.config else None


class _SettingOption(click.Option):
    """A flag for a setting, which is not among a command's own options in its help."""

    def get_help_record(self, ctx: click.Context) -> None:  # noqa: ARG002 - click's interface
        """See click.Option.get_help_record."""
        return

    def described(self, ctx: click.Context) -> tuple[str, str] | None:
        """The flag and what it is, for a section of its own."""
        return super().get_help_record(ctx)


class SettingsCommand(click.Command):
    """A command whose help has the flags of `setting_options` last, for they are many and the same everywhere."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See click.Command.format_options."""
        super().format_options(ctx, formatter)
        flags = [option.described(ctx) for option in self.params if isinstance(option, _SettingOption)]
        if flags:
            with formatter.section("Settings"):
                formatter.write_dl([flag for flag in flags if flag])


class SettingsGroup(SettingsCommand, click.Group):
    """The same for a command and its subcommands, which come before the settings."""

    command_class = SettingsCommand


def setting_options(command: Callable[..., None]) -> Callable[..., None]:
    """A flag for every setting, none with a default of its own; `command` becomes a SettingsCommand or SettingsGroup."""
    for setting in reversed(list(describe())):
        command = _option(setting)(command)
    return command


def given(config: Path | None, flags: dict[str, Any]) -> Given:
    """What the options of a command have."""
    return Given({name: value for name, value in flags.items() if value is not None}, str(config) if config else None)


def settings_of(given: Given) -> Settings:
    """The settings; what is wrong with them ends the command with a sentence."""
    try:
        return given.settings()
    except SettingError as error:
        raise click.ClickException(str(error)) from None


def require_alone(settings: Settings, *, offline: bool) -> None:
    """End the command if it would write beside a gateway to a store of one writer."""
    if settings.single_writer and not offline:
        raise click.ClickException(
            "--single-writer: a gateway that serves is another writer; stop it, and say --offline"
        )


@click.command()
def settings() -> None:
    """Print all settings as a table in Markdown."""
    click.echo("| setting | environment | flag | value | default | what it does |\n|---|---|---|---|---|---|")
    for each in describe():
        cells = (f"`{each.name}`", f"`{each.variable}`", f"`{each.flag}`", each.kind, each.default, each.description)
        click.echo(f"| {' | '.join(cells)} |")


def _option(setting: SettingInfo) -> Callable[[Callable[..., None]], Callable[..., None]]:
    text = f"{setting.description}. [{setting.variable}; default: {setting.default or 'none'}]"
    if setting.kind == "true or false":
        either = f"{setting.flag}/--no-{setting.flag.removeprefix('--')}"
        return click.option(either, cls=_SettingOption, default=None, help=text)
    return click.option(setting.flag, cls=_SettingOption, default=None, metavar=_metavar(setting.kind), help=text)


def _metavar(kind: str) -> str:
    """Choices as they are typed; else the kind of value."""
    return kind.replace(", ", "|") if "," in kind else kind.upper()
