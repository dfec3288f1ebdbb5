"""Collects what of the trust repository a device needs that cannot ask for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sealane.names import hex_of
from sealane.trust import authorities
from tuf.api.metadata import Metadata, Snapshot, Targets, Timestamp

from sealane_manager.kits import Bound

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from sealane_manager.repository import Repository
    from sealane_manager.store.records import ReleaseSource


@dataclass(frozen=True, slots=True)
class Carried:
    """Files of the repository by their names there, and what ends first of them."""

    files: Mapping[str, bytes]
    bound: Bound


def carried(repository: Repository, releases: Iterable[ReleaseSource], now: datetime) -> Carried:
    """Everything that verifies these releases, from the first root on, with a new timestamp.

    Raises NotKnown when one of them has no metadata, or its manifest is not stored here.
    """
    repository.freshen(now)
    sources = tuple(releases)
    files = {"timestamp.json": repository.current(Timestamp.type)}
    for version in range(1, repository.versions()[0] + 1):
        name = f"{version}.root.json"
        files[name] = repository.read(name)
    signed = [_signed(files["timestamp.json"])]
    bounds = [Bound(Timestamp.type, signed[0].expires)]
    for role in (Snapshot.type, Targets.type, *sorted({each.name.family for each in sources})):
        content = repository.current(role)
        signed.append(_signed(content))
        bounds.append(Bound(role, signed[-1].expires))
        files[f"{signed[-1].version}.{role}.json"] = content
    for each in sources:
        name = manifest_file(each)
        files[name] = repository.read(name)
    listed = signed[2].targets.get(authorities.PATH)
    if listed is not None:
        folder, _, base = authorities.PATH.rpartition("/")
        name = f"targets/{folder}/{listed.hashes['sha256']}.{base}"
        files[name] = repository.read(name)
    return Carried(files, min(bounds, key=lambda each: each.until))


def manifest_file(release: ReleaseSource) -> str:
    """The name of a release's manifest in the repository."""
    folder, _, base = release.name.target_path.rpartition("/")
    return f"targets/{folder}/{hex_of(release.manifest)}.{base}"


def _signed(content: bytes) -> Any:
    return Metadata.from_bytes(content).signed
