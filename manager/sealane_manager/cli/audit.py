"""`sealane audit`: who did what and when, and whether anybody rewrote it."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer
from sealane import fileio
from sealane.audit import merkle
from sealane.audit.checkpoint import parsed
from sealane.errors import SealaneError

from sealane_manager.auditing import Auditor, Finding, director_keys
from sealane_manager.cli.context import ContextOption, connect, context_folder
from sealane_manager.cli.output import Format, OutputOption, emit, emit_one, reported
from sealane_manager.store.summaries import AuditFilter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sealane_manager.client import Operator
    from sealane_manager.store.summaries import AuditLine

app = typer.Typer(no_args_is_help=True, help="Who did what, and whether anybody rewrote it.")

FORMAT = "sealane-audit-1"
SEEN = "audit-seen.json"
"""In the operator's context: the newest checkpoint that was verified from here."""

_COLUMNS = ("number", "at", "actor", "action", "rollout", "detail")

RootOption = Annotated[
    Path | None,
    typer.Option(
        "--root",
        help="root.json that you trust; without one the manager's own is believed",
        show_default=False,
    ),
]


@app.command("list")
def list_entries(
    text: Annotated[str, typer.Option(help="only whose detail or actor holds this")] = "",
    actor: Annotated[str, typer.Option(help="only by this actor")] = "",
    action: Annotated[str, typer.Option(help="only this action")] = "",
    rollout: Annotated[str, typer.Option(help="only about this rollout")] = "",
    before: Annotated[int, typer.Option(help="only with a smaller number", min=0)] = 0,
    size: Annotated[int, typer.Option(help="at most so many", min=1, max=1000)] = 50,
    output: OutputOption = Format.TABLE,
    context: ContextOption = None,
) -> None:
    """List entries, the newest first."""
    wanted = AuditFilter(text, actor, action, rollout, before, size)
    with reported(), connect(context) as manager:
        rows = [_row(line) for line in manager.audit.lines(wanted)]
    emit(rows, _COLUMNS, output)


@app.command()
def verify(
    root: RootOption = None, output: OutputOption = Format.TABLE, context: ContextOption = None
) -> None:
    """Read the whole log and hash it: is it what was signed, and does it go on from last time?

    What was verified is remembered in the context, so that a history that was rewritten since the
    last time is noticed here, as every device notices it.
    """
    with reported(), connect(context) as manager:
        found = _verified(manager, root, context_folder(context) / SEEN)
        emit_one(found.row(), output)


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="where to write; - is standard output")],
    root: RootOption = None,
    context: ContextOption = None,
) -> None:
    """Write the whole log for an auditor, who checks it with scripts/verify_audit.py alone.

    The first line says who signed which checkpoint, every other line is one entry as it was hashed.
    """
    with reported(), connect(context) as manager, ExitStack() as stack:
        found = _verified(manager, root, context_folder(context) / SEEN)
        out = sys.stdout.buffer
        if file != Path("-"):
            out = stack.enter_context(_whole(file))
        for line in _exported(manager, found, root):
            out.write(line + b"\n")
    if file != Path("-"):
        typer.echo(f"wrote {found.entries} entries to {file}")


@contextmanager
def _whole(file: Path) -> Iterator[BinaryIO]:
    """A file that appears when it is whole; what is no ordinary file is written into as it is."""
    partial = file.with_name(f"{file.name}.partial")
    if file.exists() and not file.is_file():
        partial = file
    try:
        with partial.open("wb") as out:
            yield out
        if partial != file:
            partial.replace(file)
    finally:
        if partial != file:
            partial.unlink(missing_ok=True)


@app.command("declare-loss")
def declare_loss(
    reason: Annotated[str, typer.Option(help="what was lost and why, for everybody")],
    context: ContextOption = None,
) -> None:
    """Say that the newest entries are gone, as after a backup was put back.

    Devices that have seen them refuse every document until then. They go on after it, and tell it.
    """
    with reported(), connect(context) as manager:
        manager.audit.declare_loss(reason)


def _verified(manager: Operator, root: Path | None, memory: Path) -> Finding:
    content = root.read_bytes() if root else manager.get_metadata("root")
    auditor = Auditor(director_keys(content), _remembered(memory))
    evidence = manager.audit.evidence(auditor.seen.position)
    position = parsed(evidence.note).position
    found = auditor.verify(evidence.note, evidence.proof, manager.audit.leaves(position.size))
    fileio.replace(memory, json.dumps({"note": evidence.note}).encode())
    return found


def _remembered(memory: Path) -> str:
    try:
        return str(json.loads(memory.read_bytes())["note"])
    except FileNotFoundError:
        return ""
    except (ValueError, KeyError, TypeError) as error:
        raise SealaneError(
            f"{memory} is damaged", hint="remove it; what was seen before is then not compared"
        ) from error


def _exported(manager: Operator, found: Finding, root: Path | None) -> Iterator[bytes]:
    content = root.read_bytes() if root else manager.get_metadata("root")
    keys = [key.to_dict() | {"keyid": key.keyid} for key in director_keys(content).keys.values()]
    head = {"format": FORMAT, "checkpoint": found.note, "keys": keys}
    yield json.dumps(head, sort_keys=True).encode()
    yield from _checked(manager.audit.leaves(found.entries), found)


def _checked(leaves: Iterable[bytes], found: Finding) -> Iterator[bytes]:
    """What is written is what was verified."""
    peaks: tuple[bytes, ...] = ()
    for number, leaf in enumerate(leaves):
        peaks = merkle.grown(number, peaks, [merkle.leaf_hash(leaf)])[1]
        yield leaf
    if merkle.fold(peaks) != parsed(found.note).root:
        raise SealaneError("the log changed while it was read", hint="export it again")


def _row(line: AuditLine) -> dict[str, Any]:
    return asdict(line) | {"at": f"{line.at:%Y-%m-%dT%H:%M:%SZ}"}
