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
from sealane.trust import authorities
from sealane.trust.director import DIRECTOR, X_DIRECTOR, digest_of, director_role
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Role, Root, Targets
from tuf.api.serialization.json import JSONSerializer

from sealane_manager.errors import Refused
from sealane_manager.trust.keys import ONLINE, RESERVED
from sealane_manager.trust.public_keys import judge_keys

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from typing import Any

    from tuf.api.metadata import TargetFile

COMPACT: Final = JSONSerializer(compact=True)
"""How metadata is written."""

_Offline = TypeVar("_Offline", Root, Targets)
_SUFFIX: Final = ".json"
_FIELDS: Final = frozenset({"_type", "version", "spec_version", "expires"})
_ROOT_FIELDS: Final = _FIELDS | {"keys", "roles", "consistent_snapshot", X_DIRECTOR}
_TARGETS_FIELDS: Final = _FIELDS | {"targets", "delegations"}
_RELEASE_FIELDS: Final = frozenset({"custom", "slots", "requires", "size"})


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
    """Raise Refused unless the root follows this version and says nothing but keys and thresholds.

    They must be such that can be met; where the manager signs by itself, one key is enough.
    """
    _judge_age(Root.type, new, current, now)
    _judge_fields(Root.type, new, _ROOT_FIELDS)
    if new.consistent_snapshot is not True:
        raise Refused("the new root does not ask for consistent snapshots")
    try:
        director = director_role(new).get_delegated_role(DIRECTOR)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused("the new root names no director") from error
    roles: dict[str, Role] = {**new.roles, DIRECTOR: director}
    judge_keys(new.keys, {name: role.keyids for name, role in roles.items()})
    if new.unrecognized_fields[X_DIRECTOR].keys() != {"keyids", "threshold"}:
        raise Refused("the new root says more of the director than keys and threshold")
    for name, role in roles.items():
        _judge_role(name, role)
        if name in ONLINE and role.threshold != 1:
            raise Refused(f"{name} would need {role.threshold} keys: the manager signs with one")


def judge_role(role: str) -> None:
    """Raise Refused unless a role is one that people sign for."""
    if role not in {Root.type, Targets.type}:
        _family(role)


def judge_targets(root: Root, current: int, new: Metadata[Targets], now: datetime) -> None:
    """Raise Refused unless the new top-level targets only delegate, each family its own paths."""
    judge_targets_form(current, new.signed, now)
    _judge_signatures(root, Targets.type, new)


def judge_targets_form(current: int, new: Targets, now: datetime) -> None:
    """Raise Refused unless the targets follow this version, delegate and name authorities only."""
    _judge_age(Targets.type, new, current, now)
    if new.targets.keys() - {authorities.PATH}:
        raise Refused("the targets role only delegates: a release belongs to its family's role")
    _judge_fields(Targets.type, new, _TARGETS_FIELDS)
    for target in new.targets.values():
        if target.unrecognized_fields or target.hashes.keys() != {"sha256"}:
            raise Refused(f"the targets say more of {target.path} than its size and SHA-256")
    if new.delegations is None:
        return
    if new.delegations.roles is None or new.delegations.unrecognized_fields:
        raise Refused("the targets role delegates to families by name only")
    roles = new.delegations.roles
    judge_keys(new.delegations.keys, {name: role.keyids for name, role in roles.items()})
    for name, delegated in roles.items():
        _family(name)
        if delegated.paths != [f"{name}/*"] or not delegated.terminating:
            raise Refused(f"role {name} must sign {name}/*, nothing else, and end the search")
        _judge_role(name, delegated)


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
    _judge_fields(family, new, _TARGETS_FIELDS)
    for path, file in new.targets.items():
        custom = file.custom if isinstance(file.custom, dict) else {}
        more = {*file.unrecognized_fields, *custom} - _RELEASE_FIELDS
        if more or file.hashes.keys() != {"sha256"}:
            raise Refused(f"{path[:80]!r} says more than a release does: {min(more, default='')!r}")
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


def _judge_fields(role: str, signed: Root | Targets, known: frozenset[str]) -> None:
    """Raise Refused when metadata says what could not be shown to those who sign it."""
    if more := signed.to_dict().keys() - known:
        raise Refused(
            f"the new metadata of {role} says {min(more)[:40]!r}, which this version does not know",
            hint="use the version of sealane that made it",
        )


def _judge_role(name: str, role: Role) -> None:
    if role.unrecognized_fields:
        raise Refused(f"{name} has more than keys and a threshold")
    if not 1 <= role.threshold <= len(role.keyids):
        raise Refused(f"{name} would have {len(role.keyids)} keys and need {role.threshold}")


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
