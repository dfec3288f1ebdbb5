"""Decides whether the manager takes new metadata of an offline role. Pure.

A device judges everything again; these checks only keep a mistake from reaching the fleet. They are
those that a device makes, and a few about what each role is for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from sealane import limits
from sealane.errors import InvalidName
from sealane.names import Digest, ReleaseName, parse_family
from sealane.trust.director import DIRECTOR, digest_of, director_role
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Targets
from tuf.api.serialization.json import JSONSerializer

from sealane_manager.errors import Refused
from sealane_manager.trust.keys import RESERVED

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from typing import Any

    from tuf.api.metadata import TargetFile

COMPACT: Final = JSONSerializer(compact=True)
"""How metadata is written."""

_Offline = TypeVar("_Offline", Root, Targets)
_SUFFIX: Final = ".json"


@dataclass(frozen=True, slots=True)
class ListedRelease:
    """A release that its family's keys list.

    Attributes:
        manifest, length: digest and size of the OCI manifest.
        slots: where it may serve; `*` means anywhere.
        requires: what a device must have.
        size: bytes of all blobs together.
    """

    name: ReleaseName
    manifest: Digest
    length: int
    slots: tuple[str, ...]
    requires: Mapping[str, Any]
    size: int


def parse(kind: type[_Offline], content: bytes) -> Metadata[_Offline]:
    """Read submitted metadata; raises Refused."""
    if len(content) > limits.TARGETS_BYTES:
        raise Refused(f"the metadata is larger than {limits.TARGETS_BYTES} bytes")
    try:
        metadata = Metadata[_Offline].from_bytes(content)
    except RepositoryError as error:
        raise Refused("the metadata is not TUF metadata") from error
    if not isinstance(metadata.signed, kind):
        raise Refused(f"expected {kind.type} metadata, got {metadata.signed.type}")
    return metadata


def judge_root(current: Root | None, new: Metadata[Root], now: datetime) -> None:
    """Raise Refused unless the new root follows the current one and both agree on it."""
    judge_root_form(current.version if current else 0, new.signed, now)
    if current is not None:
        _judge_signatures(current, Root.type, new)
    _judge_signatures(new.signed, Root.type, new)


def judge_root_form(current: int, new: Root, now: datetime) -> None:
    """Raise Refused unless the root follows this version and its roles can be met."""
    _judge_age(Root.type, new, current, now)
    try:
        director = director_role(new).get_delegated_role(DIRECTOR)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused("the new root names no director") from error
    for name, role in (*new.roles.items(), (DIRECTOR, director)):
        if len(set(role.keyids)) < role.threshold:
            raise Refused(f"{name} would have {len(role.keyids)} keys and need {role.threshold}")


def judge_targets(root: Root, current: int, new: Metadata[Targets], now: datetime) -> None:
    """Raise Refused unless the new top-level targets only delegate, each family its own paths."""
    judge_targets_form(current, new.signed, now)
    _judge_signatures(root, Targets.type, new)


def judge_targets_form(current: int, new: Targets, now: datetime) -> None:
    """Raise Refused unless the targets follow this version and do nothing but delegate."""
    _judge_age(Targets.type, new, current, now)
    if new.targets:
        raise Refused("the targets role only delegates: a release belongs to its family's role")
    if new.delegations is None:
        return
    if new.delegations.roles is None:
        raise Refused("the targets role delegates to families by name only")
    for name, role in new.delegations.roles.items():
        _family(name)
        if role.paths != [f"{name}/*"] or not role.terminating:
            raise Refused(f"role {name} must sign {name}/*, nothing else, and end the search")


def judge_family(
    targets: Targets, current: tuple[str, int], new: Metadata[Targets], now: datetime
) -> tuple[ListedRelease, ...]:
    """The releases that a family's new metadata lists; raises Refused.

    `current` is the family's name and the version of its metadata, 0 when it has none.
    """
    listed = judge_family_form(current, new.signed, now)
    _judge_signatures(targets, current[0], new)
    return listed


def judge_family_form(
    current: tuple[str, int], new: Targets, now: datetime
) -> tuple[ListedRelease, ...]:
    """The same, whoever signed it."""
    family, version = current
    _judge_age(family, new, version, now)
    if new.delegations is not None:
        raise Refused(f"role {family} may not delegate")
    return listed_in(family, new)


def listed_in(family: str, signed: Targets) -> tuple[ListedRelease, ...]:
    """The releases in a family's metadata; raises Refused when one is malformed or another's."""
    return tuple(_listed(family, path, file) for path, file in sorted(signed.targets.items()))


def _listed(family: str, path: str, file: TargetFile) -> ListedRelease:
    custom = file.custom if isinstance(file.custom, dict) else {}
    slots, requires = custom.get("slots"), custom.get("requires", {})
    size = custom.get("size", 0)
    try:
        name = ReleaseName.parse(path.removesuffix(_SUFFIX))
        manifest = digest_of(file)
    except (InvalidName, KeyError) as error:
        raise Refused(f"{path[:80]!r} is not a release with a SHA-256") from error
    if name.target_path != path or name.family != family:
        raise Refused(f"role {family} may not sign {path[:80]!r}")
    if file.length > limits.MANIFEST_BYTES:
        raise Refused(f"the manifest of {name} is larger than {limits.MANIFEST_BYTES} bytes")
    if not (isinstance(slots, list) and isinstance(requires, dict) and isinstance(size, int)):
        raise Refused(f"{name} does not say for which slots it is approved, or not properly")
    return ListedRelease(name, manifest, file.length, tuple(map(str, slots)), requires, size)


def _judge_age(role: str, signed: Root | Targets, current: int, now: datetime) -> None:
    if signed.version != current + 1:
        raise Refused(
            f"role {role} is at version {current}, the new metadata has {signed.version}",
            hint="somebody else published meanwhile: fetch the current metadata and sign again",
        )
    if signed.is_expired(now):
        raise Refused(f"the new metadata of {role} has expired already")


def _judge_signatures(
    authority: Root | Targets, role: str, new: Metadata[Root] | Metadata[Targets]
) -> None:
    try:
        authority.verify_delegate(role, new.signed_bytes, new.signatures)
    except (RepositoryError, ValueError) as error:
        raise Refused(
            f"the new metadata of {role} is not signed by enough of its keys",
            hint="sign with the keys that `sealane trust show` lists for this role",
        ) from error


def _family(name: str) -> None:
    try:
        parse_family(name)
    except InvalidName as error:
        raise Refused(str(error), hint=error.hint) from error
    if name in RESERVED:
        raise Refused(f"no family may be called {name}: it is a role of its own")
