"""What a device's folder holds of the trust repository: it gives it back to a manager that lost it.

Nothing here is trusted by anybody: the manager judges the signatures as if they were new.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from tuf.api.metadata import Root, Snapshot, Timestamp

from sealane import limits
from sealane.errors import InvalidName, TrustError
from sealane.fleet import Memory, MetadataFile
from sealane.names import parse_family
from sealane.trust import anchor, highwater

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

CACHE: Final = "tuf"
ROOTS: Final = "root_history"
_ONLINE: Final = frozenset({Timestamp.type, Snapshot.type})


def memory(folder: Path) -> Memory:
    """What the device has seen; nothing when its marks cannot be read."""
    try:
        marks = highwater.load(folder / anchor.MARKS_FILE)
    except TrustError:
        return Memory()
    cache = folder / CACHE
    versions = {role: version for role, path in _roles(cache) if (version := _version(path))}
    return Memory(marks.director.version, versions)


def files(folder: Path, above: Mapping[str, int]) -> Iterator[MetadataFile]:
    """Metadata of these roles above these versions: roots in order, then targets, then families."""
    cache = folder / CACHE
    if Root.type in above:
        yield from _roots(cache / ROOTS, above[Root.type])
    known = dict(_roles(cache))
    for role in sorted(above, key=lambda role: (role != "targets", role)):
        if role != Root.type and role in known and _version(known[role]) > above[role]:
            yield from _file(role, known[role])


def _roots(history: Path, above: int) -> Iterator[MetadataFile]:
    for version in range(above + 1, above + 1 + limits.ROOT_ROTATIONS):
        path = history / f"{version}.root.json"
        if not path.is_file():
            return
        yield from _file(Root.type, path)


def _file(role: str, path: Path) -> Iterator[MetadataFile]:
    with path.open("rb") as opened:
        content = opened.read(limits.METADATA_FILE_BYTES + 1)
    if len(content) <= limits.METADATA_FILE_BYTES:
        yield MetadataFile(role, content)


def _roles(cache: Path) -> Iterator[tuple[str, Path]]:
    """Every offline role of which there is a file."""
    for path in sorted(cache.glob("*.json")):
        role = path.stem
        if role not in _ONLINE and _is_role(role):
            yield role, path


def _is_role(role: str) -> bool:
    try:
        return bool(parse_family(role))
    except InvalidName:
        return False


def _version(path: Path) -> int:
    """0 when the file is not what it should be."""
    try:
        version = json.loads(path.read_bytes())["signed"]["version"]
    except (OSError, ValueError, KeyError, TypeError):
        return 0
    return version if isinstance(version, int) and version > 0 else 0
