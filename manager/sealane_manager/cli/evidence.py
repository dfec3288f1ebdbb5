"""`sealane rollout evidence`: a rollout as files that an auditor verifies without Sealane."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from sealane.audit.checkpoint import parsed
from sealane.errors import SealaneError

from sealane_manager.cli.context import ContextOption, connect
from sealane_manager.cli.output import reported

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealane_manager.evidence import RolloutEvidence

app = typer.Typer(no_args_is_help=True, help="A rollout as files that prove it.")

NewFolder = Annotated[Path, typer.Argument(help="where to write; must be new or empty")]

FORMAT: Final = "sealane-evidence-1"
HEAD: Final = "evidence.json"
ENTRIES: Final = "entries.jsonl"
ROOT: Final = "root.json"


@app.callback()
def evidence() -> None:
    """A rollout as files that prove it."""


@app.command()
def export(
    rollout: str,
    folder: NewFolder,
    context: ContextOption = None,
) -> None:
    """Write receipts, decisions with what they follow from, and proofs from the audit log.

    An auditor checks them with scripts/verify_evidence.py, without a manager and without Sealane.
    """
    with reported(), connect(context) as manager:
        found = manager.plans.evidence(rollout)
        root = manager.get_metadata("root")
        files = dict(contents(found, root))
        _write(folder, files)
    typer.echo(
        f"wrote {folder}: {len(found.entries)} entries, {len(found.judgements)} judgements,"
        f" {len(found.receipts)} receipts"
    )


def contents(found: RolloutEvidence, root: bytes) -> Iterator[tuple[str, bytes]]:
    """Every file by its name, the one that names all others last."""
    files = dict(_parts(found, root))
    yield from files.items()
    head = {
        "checkpoint": found.note,
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
        "fleet": parsed(found.note).fleet,
        "format": FORMAT,
        "rollout": found.rollout,
    }
    yield HEAD, canonical(head) + b"\n"


def _parts(found: RolloutEvidence, root: bytes) -> Iterator[tuple[str, bytes]]:
    yield ROOT, root
    lines = [
        canonical(
            {
                "entry": entry.content.decode("ascii"),
                "index": entry.index,
                "proof": [value.hex() for value in entry.proof],
            }
        )
        for entry in found.entries
    ]
    yield ENTRIES, b"".join(line + b"\n" for line in lines)
    for inputs in dict.fromkeys(found.judgements):
        yield f"judgements/{hashlib.sha256(inputs).hexdigest()}.json", inputs
    for each in found.receipts:
        name = f"receipts/{hashlib.sha256(each.payload).hexdigest()}"
        yield f"{name}.json", each.payload
        if each.public_key:
            yield f"{name}.sig", each.signature
            yield f"{name}.key", each.public_key


def canonical(value: object) -> bytes:
    """JSON in ASCII, keys in order, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")


def _write(folder: Path, files: dict[str, bytes]) -> None:
    if folder.exists() and any(folder.iterdir()):
        raise SealaneError(f"{folder} is not empty", hint="name a new folder")
    try:
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    except BaseException:  # nobody takes the half for the whole
        shutil.rmtree(folder, ignore_errors=True)
        raise
