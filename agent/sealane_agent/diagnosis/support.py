"""Puts together what somebody far away needs to understand a device, and none of its secrets.

A gzipped tar of texts. Only what is named here goes in: no key, no token, no model, no sample, and
no telemetry; what the texts may have caught of secrets is struck out.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from contextlib import contextmanager, suppress
from dataclasses import asdict
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from sealane.errors import SealaneError
from sealane.trust import anchor

from sealane_agent.config import IdentityFiles
from sealane_agent.diagnosis import logs
from sealane_agent.diagnosis.redaction import redacted
from sealane_agent.errors import Refused, Unreachable
from sealane_agent.facts import device_facts
from sealane_agent.slot.journal import looked_into

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from sealane_agent.diagnosis.findings import Finding
    from sealane_agent.layout import StateFolder

MODE: Final = 0o600
PART_BYTES: Final = 4 * 1024 * 1024
"""Of each text; what is longer keeps its end, where the newest lines are."""

LOG_LINES: Final = 5000
MAX_NAMES: Final = 20_000
_MACHINE: Final = ("/proc/meminfo", "/proc/loadavg", "/proc/uptime", "/proc/self/mountinfo")
_CUT: Final = "[the beginning is left out]\n"


@contextmanager
def begin(path: Path) -> Iterator[BinaryIO]:
    """A new file for its owner's eyes, gone again when the block fails.

    Raises Refused when there is one already.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE)
    except FileExistsError as error:
        raise Refused(f"{path} is there already", hint="name another file: -o") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise


def write(file: BinaryIO, parts: Iterable[tuple[str, str]]) -> None:
    """Write the archive of these names and texts."""
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, text in parts:
            content = _ended(redacted(text)).encode()
            head = tarfile.TarInfo(f"support/{name}")
            head.size, head.mode = len(content), MODE
            archive.addfile(head, io.BytesIO(content))


def parts(
    folder: StateFolder,
    config: Mapping[str, object],
    looks: Mapping[str, Callable[[], Iterable[Finding]]],
    said: str,
) -> Iterator[tuple[str, str]]:
    """Name and text of each part; one that cannot be had says why.

    `looks`: name of an examination to its findings; `said`: the agent's log.
    """
    yield "config.json", _json(dict(config))
    yield "agent.log", said
    makers: dict[str, Callable[[], str]] = {
        **{f"{name}.json": _findings(look) for name, look in looks.items()},
        "identity.json": lambda: _json(asdict(IdentityFiles(folder.identity).read())),
        "highwater.json": (folder.trust / anchor.MARKS_FILE).read_text,
        "history.jsonl": lambda: _history(folder),
        "quarantine.json": lambda: _quarantine(folder),
        "pointers.json": lambda: _pointers(folder),
        "files.txt": lambda: "\n".join(_names(folder.root)),
        "machine.txt": _machine,
        "packages.txt": _packages,
        "endpoint.log": lambda: folder.endpoint_log.read_text(errors="replace"),
    }
    for name, make in makers.items():
        try:
            yield name, make()
        except (SealaneError, OSError, ValueError) as error:
            yield name, f"it cannot be had: {error}\n"


def log_text() -> str:
    """What the agent said to systemd's journal, or why that cannot be had."""
    try:
        lines = logs.of_journal(LOG_LINES)
    except Unreachable as error:
        return f"{error}\n"
    found = ({"at": line.at, "event": line.event, **line.fields} for line in lines)
    return "".join(json.dumps(each) + "\n" for each in found)


def _findings(look: Callable[[], Iterable[Finding]]) -> Callable[[], str]:
    return lambda: _json([asdict(each) for each in look()])


def _history(folder: StateFolder) -> str:
    with looked_into(folder.journal) as journal:
        lines = journal.history()
    return "".join(json.dumps(asdict(line), default=str) + "\n" for line in lines)


def _quarantine(folder: StateFolder) -> str:
    with looked_into(folder.journal) as journal:
        slots = journal.slots()
        away = journal.read(slots[0]).quarantined if slots else {}
        return _json({"unsent": journal.pending(), "quarantined": dict(away)})


def _pointers(folder: StateFolder) -> str:
    found = {}
    for path in sorted((folder.root / "slots").glob("*/*")):
        with suppress(OSError):
            found[f"{path.parent.name}/{path.name}"] = path.read_text(errors="replace")
    return _json(found)


def _names(root: Path) -> Iterator[str]:
    """Names, sizes and modes: never what is in a file."""
    count = 0
    for folder, _, files in os.walk(root):
        for name in sorted(files):
            path = Path(folder) / name
            with suppress(OSError):
                found = path.lstat()
                yield f"{found.st_mode:o} {found.st_uid} {found.st_size} {path.relative_to(root)}"
            count += 1
            if count == MAX_NAMES:
                yield f"[only the first {MAX_NAMES}]"
                return


def _machine() -> str:
    texts = [f"uname: {' '.join(os.uname())}", _json(asdict(device_facts()))]
    for name in _MACHINE:
        with suppress(OSError):
            texts.append(f"{name}\n{Path(name).read_text()}")
    return "\n".join(texts)


def _packages() -> str:
    found = {f"{each.metadata['Name']} {each.version}" for each in distributions()}
    return "\n".join(sorted(found)) + "\n"


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, default=str) + "\n"


def _ended(text: str) -> str:
    return text if len(text) <= PART_BYTES else _CUT + text[-PART_BYTES:]
