"""Decides what is in a backup, and what a backup may say of itself. Pure.

`manifest.json` comes first and lists every file with its digest; the bytes follow as objects that
are named by their digest. What is secret is one sealed object, and the seal also holds the rest of
the manifest: without the passphrase nobody changes a sealed backup.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from sealane.bundle.jsonform import dump, load
from sealane.errors import BundleError, InvalidName
from sealane.limits import MIB
from sealane.names import Digest, hex_of, parse_digest, parse_fleet

from sealane_manager.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from sealane.bundle.jsonform import Fields

FORMAT: Final = 1
"""The form of the file; a manager reads no newer one."""

MANIFEST_BYTES: Final = 64 * MIB
"""The list of files: some two hundred thousand of them."""

FILES: Final = 200_000
"""Files in one backup: every version of the trust repository's metadata, and every blob."""

SEALED_BYTES: Final = 16 * MIB
"""Everything secret together: keys, and what nobody said is public."""

FILE_BYTES: Final = 2**44
"""One file: larger ones are no honest database."""

PATH_CHARS: Final = 300

SETTINGS: Final = "fleet.json"
DATABASES: Final = ("control.db", "telemetry.db")
BLOBS: Final = "blobs/sha256/"

_PUBLIC: Final = re.compile(
    r"fleet\.json|control\.db|telemetry\.db|tuf/.+|changes/[^/]+\.json|ca/[^/]+\.pem"
    r"|operator/(?:[^/]+\.pem|context\.json)"
)
_PASSING: Final = re.compile(r"(?:blobs|run)/.*|(?:control|telemetry)\.db-.+")
"""Not taken: blobs go their own way, the others are of the running process."""

_SEGMENT: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.@+-]{0,160}[A-Za-z0-9_@+-])?")
_SEGMENTS: Final = 6


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file: where it lies in the state folder, how long it is, and its digest."""

    path: str
    size: int
    digest: Digest


@dataclass(frozen=True, slots=True)
class Seal:
    """The sealed object: size and digest, and what its key was made from, hexadecimal."""

    size: int
    digest: Digest
    salt: str
    nonce: str


@dataclass(frozen=True, slots=True)
class Contents:
    """What a backup says of itself.

    Attributes:
        made_at: the manager's time.
        version: of the manager that made it.
        files: in the order of the objects; two may be the same object.
        left_out: paths of secrets that are not in it, because no passphrase was given.
        missing: blobs that are not in it, but in the repository; with their sizes.
        seal: None when secrets were left out.
    """

    fleet: str
    made_at: datetime
    version: str
    files: tuple[FileEntry, ...]
    left_out: tuple[str, ...] = ()
    missing: tuple[FileEntry, ...] = ()
    seal: Seal | None = None

    @property
    def sealed_text(self) -> bytes:
        """What the seal is bound to: everything else that the manifest says."""
        return dump(_to_json(self))

    @property
    def objects(self) -> Mapping[Digest, int]:
        """Every object that follows, in order, with its size."""
        sizes = {entry.digest: entry.size for entry in self.files}
        if self.seal:
            sizes[self.seal.digest] = self.seal.size
        return sizes

    def encode(self) -> bytes:
        """JSON."""
        fields = _to_json(self)
        if self.seal:
            seal = self.seal
            fields["seal"] = {
                "size": seal.size,
                "digest": seal.digest,
                "salt": seal.salt,
                "nonce": seal.nonce,
            }
        return json.dumps(fields, indent=1, sort_keys=True).encode() + b"\n"

    @classmethod
    def decode(cls, content: bytes) -> Contents:
        """Read a manifest; raises Refused when it is malformed, or names what no state holds."""
        try:
            found = load(content, MANIFEST_BYTES, "the backup's manifest")
            if found.integer("format", 1, 2**31) != FORMAT:
                raise Refused(
                    "the backup is in a newer form than this manager reads",
                    hint="use the manager that made it, or a newer one",
                )
            contents = _from_json(found)
        except (BundleError, InvalidName, ValueError) as error:
            raise Refused(f"the backup is malformed: {error}") from error
        _judge(contents)
        return contents


def is_passing(path: str) -> bool:
    """Whether a file of the state folder belongs to the running process, or to the blobs."""
    hidden = any(part.startswith(".") for part in path.split("/"))
    return hidden or _PASSING.fullmatch(path) is not None


def is_public(path: str) -> bool:
    """Whether a file may stand in a backup in clear; what nobody thought of may not."""
    return _PUBLIC.fullmatch(path) is not None


def check_secret(path: str) -> str:
    """A path from inside the seal; raises Refused."""
    if not _is_safe(path) or is_public(path) or is_passing(path):
        raise Refused(f"the backup holds {path[:80]!r}, which is no secret of a manager")
    return path


def _judge(contents: Contents) -> None:
    paths = [entry.path for entry in contents.files]
    if len(set(paths)) != len(paths):
        raise Refused("the backup lists a file twice")
    for path in paths:
        blob = path.startswith(BLOBS)
        if not _is_safe(path) or not (blob or is_public(path)):
            raise Refused(f"the backup lists {path[:80]!r}, which no state folder of a manager has")
    for entry in (*contents.files, *contents.missing):
        if entry.path.startswith(BLOBS) and entry.path != BLOBS + hex_of(entry.digest):
            raise Refused(f"the backup lists {entry.path[:80]!r} under another digest")
    _judge_sizes(contents)
    needed = {SETTINGS, *DATABASES}
    if absent := needed.difference(paths):
        raise Refused(
            f"the backup holds no {min(absent)}", hint="it was not made by sealane backup"
        )


def _judge_sizes(contents: Contents) -> None:
    sizes: dict[Digest, int] = {}
    for entry in contents.files:
        if sizes.setdefault(entry.digest, entry.size) != entry.size:
            raise Refused(f"the backup gives {entry.digest} two sizes")
    if contents.seal and contents.seal.digest in sizes:
        raise Refused("the backup lists what is sealed as a file")


def _is_safe(path: str) -> bool:
    segments = path.split("/")
    return (
        len(path) <= PATH_CHARS
        and len(segments) <= _SEGMENTS
        and all(_SEGMENT.fullmatch(segment) for segment in segments)
    )


def _to_json(contents: Contents) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "fleet": contents.fleet,
        "made_at": contents.made_at.isoformat(),
        "version": contents.version,
        "files": _entries_to_json(contents.files),
        "left_out": list(contents.left_out),
        "missing": _entries_to_json(contents.missing),
    }


def _entries_to_json(entries: Iterable[FileEntry]) -> list[dict[str, Any]]:
    return [{"path": each.path, "size": each.size, "digest": each.digest} for each in entries]


def _from_json(found: Fields) -> Contents:
    made_at = datetime.fromisoformat(found.text("made_at"))
    if made_at.tzinfo is None:
        raise ValueError("made_at has no zone")
    return Contents(
        fleet=parse_fleet(found.text("fleet")),
        made_at=made_at,
        version=found.text("version")[:64],
        files=tuple(_entry(each) for each in found.objects("files", FILES)),
        left_out=found.texts("left_out", FILES),
        missing=tuple(_entry(each) for each in found.objects("missing", FILES)),
        seal=_seal(found.fields("seal")) if "seal" in found.raw else None,
    )


def _entry(found: Fields) -> FileEntry:
    return FileEntry(
        found.text("path"),
        found.integer("size", 0, FILE_BYTES),
        parse_digest(found.text("digest")),
    )


def _seal(found: Fields) -> Seal:
    return Seal(
        found.integer("size", 0, SEALED_BYTES),
        parse_digest(found.text("digest")),
        found.text("salt"),
        found.text("nonce"),
    )
