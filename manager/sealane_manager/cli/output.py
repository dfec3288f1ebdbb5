"""How every command prints and how it ends: tables or JSON, one-line errors, exit codes.

Exit codes: 0 ok, 1 failed, 2 usage, 3 refused by policy, 4 unreachable, 5 something differs.
"""

from __future__ import annotations

import errno
import json
import shutil
import sys
from contextlib import contextmanager
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from sealane.errors import SealaneError, TrustError

from sealane_manager.cli.table import table, word
from sealane_manager.errors import Refused, Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any


_FULL: Final = {errno.ENOSPC, errno.EDQUOT}


class Exit(IntEnum):
    """Exit codes of every command."""

    OK = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    UNREACHABLE = 4
    DIFFERS = 5


class Format(StrEnum):
    """What `--output` takes."""

    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[Format, typer.Option("--output", "-o", help="table or json")]

errors = Console(stderr=True, highlight=False, soft_wrap=True)


def emit(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], output: Format) -> None:
    """Print rows: the named columns as a table, or everything as a JSON list.

    Who reads from a pipe reads line by line: there a row is one line, however long.
    """
    if output is Format.JSON:
        typer.echo(json.dumps(list(rows), indent=2, default=_plain))
        return
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    found = table(rows, columns, room)
    typer.echo("\n".join((typer.style(found.heads, bold=True), *found.rows)))


def emit_one(row: Mapping[str, Any], output: Format) -> None:
    """Print one thing: `key  value` lines, or a JSON object."""
    if output is Format.JSON:
        typer.echo(json.dumps(dict(row), indent=2, default=_plain))
        return
    width = max((len(key) for key in row), default=0)
    for key, value in row.items():
        typer.echo(f"{key:<{width}}  {word(value)}".rstrip())


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


@contextmanager
def reported() -> Iterator[None]:
    """Turn Sealane's errors into one line and an exit code; others are bugs and show as such."""
    try:
        yield
    except (Refused, TrustError) as error:
        _end(error, Exit.REFUSED)
    except Unreachable as error:
        _end(error, Exit.UNREACHABLE)
    except SealaneError as error:
        _end(error, Exit.FAILED)
    except UnicodeEncodeError as error:
        text = f"{error.object[:80]!r} is not text in UTF-8"
        hint = "write names and reasons in UTF-8, in a locale such as C.UTF-8"
        _end(SealaneError(text, hint=hint), Exit.FAILED)
    except BrokenPipeError as error:  # who reads has seen enough, and there is nobody to tell
        raise typer.Exit(Exit.FAILED) from error
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        hint = "free some space first" if error.errno in _FULL else ""
        _end(SealaneError(f"{error.strerror or error}{where}", hint=hint), Exit.FAILED)


def warn_of_slot(slot: str) -> None:
    """Say that no device has a slot for which something was ordered: it may come, or be mistyped.

    It goes where errors go: what a command prints stays what it was.
    """
    sentence = f"none of these devices has a slot {slot} so far; `sealane device list` names theirs"
    errors.print(f"warning: {sentence}", style="yellow", markup=False)


def _end(error: SealaneError, code: Exit) -> None:
    errors.print(f"error: {error}", markup=False)
    if error.hint:
        errors.print(f"hint: {error.hint}", markup=False)
    raise typer.Exit(code) from error
