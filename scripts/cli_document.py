"""Writes docs/cli.md from what the command line says about itself."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer.main
from sealane_manager.cli.main import app

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "cli.md"
_HEAD = """\
# The operator's command line

Made from the commands themselves by `scripts/cli-docs`; a test compares them. Exit codes: 0 done,
1 failed, 2 wrong usage, 3 refused by a policy or a state, 4 the manager does not answer,
5 something differs (`sealane diff`).
Commands that list or show something take `--output table` or `--output json`; commands that ask the
manager take `--context FOLDER` (or `SEALANE_CONTEXT`): an operator's context, by default the folder
`operator` of `$SEALANE_STATE`, else `~/.config/sealane`.
"""
_EVERYWHERE = {"output", "context"}


def document() -> str:
    """The whole of docs/cli.md."""
    group: Any = typer.main.get_command(app)
    return "\n".join([_HEAD, *_commands(group, "sealane")])


def _commands(group: Any, path: str) -> Iterator[str]:
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path} {name}")
        else:
            yield from _command(command, f"{path} {name}")


def _command(command: Any, path: str) -> Iterator[str]:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [
        each
        for each in command.params
        if each.param_type_name == "option" and each.name not in _EVERYWHERE
    ]
    words = " ".join(_placeholder(each) for each in arguments)
    yield f"## `{f'{path} {words}'.strip()}`"
    yield command.help.partition("\f")[0].strip() + "\n"
    if options:
        yield "| option | default | what |\n|---|---|---|"
        yield "\n".join(_option(each) for each in options) + "\n"


def _placeholder(argument: Any) -> str:
    name = str(argument.name).upper()
    return f"{name}..." if argument.nargs == -1 else name


def _option(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in option.opts)
    if option.required:
        default = "required"
    else:
        default = "" if option.default in (None, "") else f"`{option.default}`"
    return f"| {names} | {default} | {(option.help or '').replace('|', '/')} |"


if __name__ == "__main__":
    DOCUMENT.write_text(document())
    sys.stdout.write(f"wrote {DOCUMENT.name}\n")
