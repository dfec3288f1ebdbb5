"""Says what new metadata of an offline role changes, as the audit log tells it. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealane.names import hex_of
from tuf.api.metadata import Metadata, Targets

from sealane_manager.trust.submission import listed_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sealane.names import ReleaseName

    from sealane_manager.trust.submission import ListedRelease

_NONE: Final[Mapping[str, Targets]] = {}
_SHOWN: Final = 12
"""Characters of a digest or a key's id that people compare."""


@dataclass(frozen=True, slots=True)
class Publication:
    """One thing that changes when metadata is published.

    Attributes:
        signers: what its signatures say: ids of keys.
        evidence: SHA-256 of the metadata, hexadecimal.
    """

    action: str
    detail: str
    signers: str
    evidence: str


def publications(
    role: str, before: Targets | None, content: bytes, gone: Mapping[str, Targets] = _NONE
) -> tuple[Publication, ...]:
    """What the new metadata of a role publishes and takes back; `before` is None at first.

    `gone`: the families that it ends, with what they said last.
    """
    metadata = Metadata.from_bytes(content)
    signers = ", ".join(f"key {keyid[:_SHOWN]}" for keyid in metadata.signatures)
    evidence = hashlib.sha256(content).hexdigest()
    lines = [("metadata", f"{role} {metadata.signed.version}")]
    if isinstance(metadata.signed, Targets):
        old = _releases(role, before) if before else {}
        lines += _changes(old, _releases(role, metadata.signed))
    for family, last in gone.items():
        lines += [("end family", family), *_changes(_releases(family, last), {})]
    return tuple(Publication(action, detail, signers, evidence) for action, detail in lines)


def _releases(role: str, targets: Targets) -> Mapping[ReleaseName, ListedRelease]:
    """Of a family; the top-level role lists no releases."""
    if role == Targets.type:
        return {}
    return {release.name: release for release in listed_in(role, targets)}


def _changes(
    old: Mapping[ReleaseName, ListedRelease], new: Mapping[ReleaseName, ListedRelease]
) -> Iterator[tuple[str, str]]:
    for name, release in new.items():
        if name not in old or old[name].manifest != release.manifest:
            yield "publish", f"{name}, manifest {hex_of(release.manifest)}"
    for name in old.keys() - new.keys():
        yield "unlist", str(name)
