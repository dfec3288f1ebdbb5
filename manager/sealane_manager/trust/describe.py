"""Says in words what a change of a role's metadata does. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sealane.names import Digest
from sealane.trust import authorities
from sealane.trust.director import DIRECTOR, X_DIRECTOR
from tuf.api.metadata import Role, Root, Snapshot, Targets, Timestamp

from sealane_manager.trust.public_keys import holder_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sealane.sampling.types import InputTerms, SamplingTerms
    from tuf.api.metadata import Key, Metadata, TargetFile

KEY_CHARS: Final = 12
"""As much of a key's id as tells known keys apart."""

NEW_KEY_CHARS: Final = 24
"""As much of it as people compare when a key comes in: nobody makes a key to fit it."""

_NO_ROLE: Final = Role([], 1)


def differences(role: str, new: Metadata[Any], current: Metadata[Any] | None) -> tuple[str, ...]:
    """One sentence for everything that is different; renewing alone is one, too."""
    before = current.signed if current else None
    if role == Root.type:
        found = list(_of_root(new.signed, before))
    elif role == Targets.type:
        found = list(_of_targets(new.signed, before))
    else:
        found = list(_of_family(new.signed, before))
    until = f"it is valid until {new.signed.expires:%Y-%m-%d}"
    nothing = "nothing is different but its age" if current else "it begins, and approves nothing"
    return (*(found or [nothing]), until)


def key_name(keyid: str, holder: str = "", chars: int = KEY_CHARS) -> str:
    """A key as people read it."""
    return f"{holder} ({keyid[:chars]})" if holder else keyid[:chars]


def kept_inputs(terms: SamplingTerms | None) -> str:
    """What a bundle lets be kept of its inputs, in a sentence: who approves it allows that, too."""
    if terms is None:
        return "of its inputs nothing may be kept"
    when = [f"every {terms.every} requests"] if terms.every else []
    if terms.confidence_below:
        when.append(f"below a confidence of {terms.confidence_below:g}")
    if terms.errors:
        when.append("when it fails")
    if terms.drift:
        when.append("while its inputs drift")
    if terms.disagreement:
        when.append("where it disagrees with the release before")
    inputs = ", ".join(_kept(name, each) for name, each in terms.inputs.items())
    days = terms.seconds_kept / 86_400
    bounds = f"at most {terms.bytes_per_day} bytes a day and slot, for {days:g} days"
    return (
        f"of its inputs may be kept, sealed for the manager: {inputs}; {', '.join(when)}; {bounds}"
    )


def _kept(name: str, terms: InputTerms) -> str:
    less = [f"columns {', '.join(map(str, terms.columns))}"] if terms.columns else []
    if terms.shrink > 1:
        less.append(f"shrunk {terms.shrink} times")
    return f"{name} ({' '.join(less)})" if less else name


def _of_root(new: Root, old: Root | None) -> Iterator[str]:
    for name in (Root.type, Targets.type, Snapshot.type, Timestamp.type, DIRECTOR):
        before = _root_role(old, name) if old else _NO_ROLE
        yield from _of_role(
            name, (before, old.keys if old else {}), (_root_role(new, name), new.keys)
        )


def _root_role(root: Root, name: str) -> Role:
    if name != DIRECTOR:
        return root.roles[name]
    fields = root.unrecognized_fields.get(X_DIRECTOR) or {}
    return Role(list(fields.get("keyids", ())), fields.get("threshold", 1))


def _of_targets(new: Targets, old: Targets | None) -> Iterator[str]:
    after, before = _delegated(new), _delegated(old)
    keys = (
        (old.delegations.keys if old and old.delegations else {}),
        (new.delegations.keys if new.delegations else {}),
    )
    yield from _of_authorities(new, old)
    for name in sorted(after.keys() | before.keys()):
        if name not in after:
            yield f"the family {name} ends, and with it every release of it"
            continue
        if name not in before:
            yield f"the family {name} begins"
        was = before.get(name, _NO_ROLE)
        yield from _of_role(name, (was, keys[0]), (after[name], keys[1]))


def _of_authorities(new: Targets, old: Targets | None) -> Iterator[str]:
    """Whom devices shall believe on the wire: the only file that targets list themselves."""
    after, before = new.targets.get(authorities.PATH), None
    if old:
        before = old.targets.get(authorities.PATH)
    if after == before:
        return
    was = f", before {_content(before)}" if before else ""
    if after is None:
        yield f"devices are told of no authority of certificates any more{was}"
        return
    yield f"devices believe the certificate authorities in {_content(after)}{was}"


def _content(file: TargetFile) -> str:
    return f"a ca.pem of {file.length} bytes with SHA-256 {file.hashes.get('sha256', '?')}"


def _delegated(targets: Targets | None) -> Mapping[str, Role]:
    delegations = targets.delegations if targets else None
    return (delegations.roles if delegations else None) or {}


def _of_role(
    name: str, old: tuple[Role, Mapping[str, Key]], new: tuple[Role, Mapping[str, Key]]
) -> Iterator[str]:
    before, after = old[0], new[0]
    for keyid in after.keyids:
        if keyid not in before.keyids:
            yield f"{name} gets the key of {_named(keyid, new[1], NEW_KEY_CHARS)}"
    for keyid in before.keyids:
        if keyid not in after.keyids:
            yield f"{name} loses the key of {_named(keyid, old[1])}"
    for keyid in after.keyids:
        if keyid in before.keyids and old[1].get(keyid) != new[1].get(keyid):
            was, now = (_named(keyid, keys) for keys in (old[1], new[1]))
            yield f"{name} calls the key of {was} that of {now}"
    was, now = _rule(before), _rule(after)
    if was != now:
        yield f"{name} then needs {now} signatures" + (f", before {was}" if before.keyids else "")


def _rule(role: Role) -> str:
    return f"{role.threshold} of {len(role.keyids)}"


def _named(keyid: str, keys: Mapping[str, Key], chars: int = KEY_CHARS) -> str:
    return key_name(keyid, holder_of(keys[keyid]) if keyid in keys else "", chars)


def _of_family(new: Targets, old: Targets | None) -> Iterator[str]:
    before = old.targets if old else {}
    for path, file in sorted(new.targets.items()):
        if path not in before:
            yield f"{_release(path)} is approved: {_approved(file)}"
        elif file != before[path]:
            yield f"{_release(path)} is approved for something else: {_approved(file)}"
    for path in sorted(before.keys() - new.targets.keys()):
        yield f"{_release(path)} is revoked: no device begins to run it any more"


def _release(path: str) -> str:
    return path.removesuffix(".json")


def _approved(file: TargetFile) -> str:
    custom = file.custom if isinstance(file.custom, dict) else {}
    slots = custom.get("slots")
    where = ", ".join(map(str, slots)) if isinstance(slots, list) else "none"
    requires = custom.get("requires")
    needs = ", ".join(f"{key}={value}" for key, value in requires.items()) if requires else ""
    digest = Digest(f"sha256:{file.hashes.get('sha256', '?')}")
    text = f"manifest {digest}, slots {where.replace('*', 'any')}"
    return f"{text}, on devices with {needs}" if needs else text
