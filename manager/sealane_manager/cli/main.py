"""`sealane`: the operator's command line; one noun a file, loaded when it is asked for."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COMMANDS: Final = {
    "init": "init:command",
    "serve": "serve:command",
    "apply": "apply:apply",
    "diff": "apply:diff",
    "backup": "backup:backup",
    "restore": "backup:restore",
    "check-config": "configured:check",
    "device": "device:app",
    "bundle": "bundle:app",
    "agent": "agent:app",
    "release": "release:app",
    "rollout": "rollout:app",
    "quarantine": "quarantine:app",
    "kit": "kit:app",
    "gate": "gate:app",
    "alert": "alert:app",
    "audit": "audit:app",
    "authority": "authority:app",
    "sample": "sample:app",
    "export": "export:app",
    "trust": "trust:app",
    "operator": "operator:app",
    "user": "user:app",
    "window": "window:app",
    "calendar": "calendars:app",
}
"""Where in this folder each word is: a function for a command, a Typer for a noun."""


class _Loading(Mapping[str, Any]):
    """The commands by name, each with what it needs imported when it is looked up.

    An operator's question must not wait for what only the manager's own machine needs.
    """

    def __getitem__(self, name: str) -> Any:
        found = pkgutil.resolve_name(f"sealane_manager.cli.{COMMANDS[name]}")
        command: Any = get_group(found) if isinstance(found, typer.Typer) else _alone(name, found)
        command.name = name
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


def _alone(name: str, function: Callable[..., None]) -> Any:
    holder = typer.Typer(add_completion=False)
    holder.command(name)(function)
    return get_command(holder)


class _Nouns(TyperGroup):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands: Any = _Loading()


app = typer.Typer(
    name="sealane",
    cls=_Nouns,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("sealane-manager"))
        raise typer.Exit


@app.callback()
def sealane(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_say_version, is_eager=True, help="Say which version this is."
        ),
    ] = False,
) -> None:
    """Brings machine-learning models to devices: signed, in stages, and back."""


def main() -> None:
    """Run the command line."""
    app()
