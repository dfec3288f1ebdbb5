"""Director documents to and from TUF targets metadata, and the director's role in the root. Pure.

Times have whole seconds, as everywhere in TUF. Fields that this version does not know are ignored.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from tuf.api.metadata import DelegatedRole, Delegations, TargetFile, Targets

from sealane.audit.checkpoint import NOTE_CHARS
from sealane.holds import HOLDS_ORDERED, OWNER_CHARS, REASON_CHARS, Hold, parse_words
from sealane.limits import QUARANTINE_REASON_CHARS, QUARANTINED_RELEASES
from sealane.names import Digest, ReleaseName, hex_of, parse_device, parse_digest, parse_slot
from sealane.policy import ANY_TIME, policy_from_json, policy_to_json
from sealane.sampling.sealed import KEY_BYTES
from sealane.trust.documents import (
    DirectorDocument,
    Lease,
    Quarantined,
    SamplingOrder,
    SlotAssignment,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from tuf.api.metadata import Key, Root

DIRECTOR: Final = "director"
X_DIRECTOR: Final = "x-director"
"""Field of the root that lists the director's keys and threshold."""

X_ASSIGNMENT: Final = "x-assignment"
"""Field of a director document that says what the device shall do."""

LAST_YEAR: Final = 2999
"""No honest time is later; keeps sums of times within the calendar."""

_FIRST_YEAR: Final = 1970
_TEXT_CHARS: Final = 256


def to_targets(document: DirectorDocument) -> Targets:
    """The document as TUF targets metadata, ready to be signed."""
    signed = Targets(version=document.version, expires=document.expires)
    for slot in document.slots:
        path = slot.release.target_path
        signed.targets[path] = TargetFile(slot.length, {"sha256": hex_of(slot.manifest)}, path)
    signed.unrecognized_fields[X_ASSIGNMENT] = {
        "device": document.device,
        "nonce": document.nonce,
        "issued": _write_time(document.issued),
        "repo": {"root": document.root_version, "snapshot": document.snapshot_version},
        "generation": document.generation,
        "slots": {slot.slot: _slot_to_json(slot) for slot in document.slots},
        **({"log": document.log} if document.log else {}),
        **_quarantine_to_json(document.quarantined),
        **_holds_to_json(document.holds),
    }
    return signed


def _quarantine_to_json(found: tuple[Quarantined, ...] | None) -> dict[str, Any]:
    if found is None:
        return {}
    said = {each.manifest: {"reason": each.reason, "stops": each.stops} for each in found}
    return {"quarantine": said}


def _holds_to_json(holds: tuple[Hold, ...] | None) -> dict[str, Any]:
    if holds is None:
        return {}
    return {"holds": [asdict(each) | {"until": _write_time(each.until)} for each in holds]}


def _slot_to_json(slot: SlotAssignment) -> dict[str, Any]:
    lease = slot.lease
    fields = {
        "release": str(slot.release),
        "rollout": slot.rollout,
        "lease": lease and {"id": lease.id, "expires": _write_time(lease.expires)},
        **({"sampling": _sampling_to_json(slot.sampling)} if slot.sampling else {}),
        **({"attempt": slot.attempt} if slot.attempt else {}),
    }
    if slot.policy != ANY_TIME:
        fields["policy"] = policy_to_json(slot.policy)
    return fields


def _sampling_to_json(order: SamplingOrder) -> dict[str, Any]:
    fields: dict[str, Any] = {"key": order.key.hex(), "until": _write_time(order.until)}
    return fields | {"drift": True} if order.drift else fields


def from_targets(signed: Targets) -> DirectorDocument:
    """Read a document.

    Raises ValueError, KeyError, TypeError, AttributeError or InvalidName when it is malformed.
    """
    fields = signed.unrecognized_fields[X_ASSIGNMENT]
    return DirectorDocument(
        device=parse_device(fields["device"]),
        version=_number(signed.version),
        issued=_read_time(fields["issued"]),
        expires=signed.expires,
        nonce=None if fields["nonce"] is None else _text(fields["nonce"]),
        root_version=_number(fields["repo"]["root"]),
        snapshot_version=_number(fields["repo"]["snapshot"]),
        generation=_number(fields["generation"]),
        slots=tuple(
            _slot_from_json(name, slot, signed.targets)
            for name, slot in sorted(fields["slots"].items())
        ),
        log=_text(fields.get("log", ""), NOTE_CHARS),
        quarantined=_quarantine_from_json(fields.get("quarantine")),
        holds=_holds_from_json(fields.get("holds")),
    )


def _quarantine_from_json(
    found: Mapping[str, Mapping[str, Any]] | None,
) -> tuple[Quarantined, ...] | None:
    if found is None:
        return None
    if len(found) > QUARANTINED_RELEASES:
        raise ValueError(f"more than {QUARANTINED_RELEASES} releases are said to be in quarantine")
    return tuple(
        Quarantined(
            parse_digest(manifest),
            _text(fields["reason"], QUARANTINE_REASON_CHARS),
            fields.get("stops") is True,
        )
        for manifest, fields in sorted(found.items())
    )


def _holds_from_json(found: Any) -> tuple[Hold, ...] | None:
    if found is None:
        return None
    if not isinstance(found, list) or len(found) > HOLDS_ORDERED:
        raise ValueError(f"holds are a list of at most {HOLDS_ORDERED}")
    holds = tuple(_hold_from_json(each) for each in found)
    if len({each.id for each in holds}) < len(holds):
        raise ValueError("two holds have the same name")
    return holds


def _hold_from_json(fields: Mapping[str, Any]) -> Hold:
    slot = _text(fields["slot"])
    return Hold(
        id=parse_words(fields["id"], "name", OWNER_CHARS),
        slot=parse_slot(slot) if slot else "",
        owner=parse_words(fields["owner"], "owner", OWNER_CHARS),
        reason=parse_words(fields["reason"], "reason", REASON_CHARS),
        until=_read_time(fields["until"]),
    )


def _slot_from_json(
    name: str, fields: Mapping[str, Any], targets: Mapping[str, TargetFile]
) -> SlotAssignment:
    release = ReleaseName.parse(fields["release"])
    target = targets[release.target_path]
    lease = fields["lease"]
    return SlotAssignment(
        slot=parse_slot(name),
        release=release,
        manifest=digest_of(target),
        length=target.length,
        rollout=_text(fields["rollout"]),
        lease=lease and Lease(_text(lease["id"]), _read_time(lease["expires"])),
        policy=policy_from_json(fields.get("policy")),
        sampling=_sampling_from_json(fields["sampling"]) if fields.get("sampling") else None,
        attempt=_number(fields.get("attempt", 0)),
    )


def _sampling_from_json(fields: Mapping[str, Any]) -> SamplingOrder:
    key = bytes.fromhex(_text(fields["key"]))
    if len(key) != KEY_BYTES:
        raise ValueError("samples are sealed for a key of another length")
    return SamplingOrder(key, _read_time(fields["until"]), fields.get("drift") is True)


def digest_of(target: TargetFile) -> Digest:
    """The SHA-256 of a listed file; raises KeyError or InvalidName when it has none."""
    return parse_digest(f"sha256:{target.hashes['sha256']}")


def director_role(root: Root) -> Targets:
    """A delegator that accepts what the root's director signs.

    Raises ValueError, KeyError, TypeError or AttributeError when the root names no director.
    """
    fields = root.unrecognized_fields[X_DIRECTOR]
    keys = {keyid: root.keys[keyid] for keyid in fields["keyids"]}
    role = DelegatedRole(
        DIRECTOR, list(keys), _number(fields["threshold"]), terminating=True, paths=["*"]
    )
    return Targets(delegations=Delegations(keys, {DIRECTOR: role}))


def fingerprint(keys: Mapping[str, Key]) -> str:
    """Changes when, and only when, the set of keys does."""
    values = {keyid: key.to_dict() for keyid, key in keys.items()}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def role_fingerprint(root: Root, role: str) -> str:
    """Fingerprint of the keys that the root gives to a role."""
    return fingerprint({keyid: root.keys[keyid] for keyid in root.roles[role].keyids})


def _write_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _read_time(text: Any) -> datetime:
    moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    if not _FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise ValueError(f"{text} is no time that a director could mean")
    return moment


def _number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(f"{str(value)[:40]!r} is not a number of at least 0")
    return value


def _text(value: Any, most: int = _TEXT_CHARS) -> str:
    if not isinstance(value, str) or len(value) > most:
        raise TypeError(f"expected a text of at most {most} characters")
    return value
