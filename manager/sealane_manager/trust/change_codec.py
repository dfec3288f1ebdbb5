"""Changes to and from JSON, as they wait on the manager and as they are carried by hand. Pure.

The file says everything that a holder needs to judge and to sign without a network: the changes and
the metadata that is current now.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from sealane.errors import InvalidName
from sealane.limits import ROOT_ROTATIONS, TARGETS_BYTES
from sealane.names import parse_family

from sealane_manager.errors import Refused
from sealane_manager.trust.changes import Change, Given, parse

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT: Final = 1
FILE_BYTES: Final = 8 * TARGETS_BYTES
"""A file with changes of several families, and what is current."""

_BROKEN: Final = (ValueError, KeyError, TypeError, AttributeError, RecursionError, InvalidName)


@dataclass(frozen=True, slots=True)
class Carried:
    """What a file with changes holds.

    Attributes:
        current: the metadata that was current when the file was made, by role.
        roots: earlier roots, the oldest first.
    """

    fleet: str
    changes: tuple[Change, ...]
    current: Mapping[str, bytes]
    roots: tuple[bytes, ...] = ()


def change_to_json(change: Change) -> dict[str, Any]:
    """One change as JSON."""
    return {
        "role": change.role,
        "reason": change.reason,
        "proposer": change.proposer,
        "proposed": change.proposed.isoformat(),
        "given": [
            {"keyid": given.keyid, "by": given.by, "at": given.at.isoformat()}
            for given in change.given
        ],
        "voided": list(change.voided),
        "metadata": json.loads(change.metadata),
    }


def change_from_json(fields: Any) -> Change:
    """Read one change; raises Refused when it is malformed."""
    try:
        change = Change(
            role=parse_family(fields["role"]),
            metadata=json.dumps(fields["metadata"]).encode(),
            reason=str(fields["reason"]),
            proposer=str(fields["proposer"]),
            proposed=_moment(fields["proposed"]),
            given=tuple(
                Given(str(given["keyid"]), str(given["by"]), _moment(given["at"]))
                for given in fields["given"]
            ),
            voided=tuple(map(str, fields["voided"])),
        )
    except _BROKEN as error:
        raise Refused("the change is damaged, or is none") from error
    parse(change.role, change.metadata)
    return change


def encode_file(carried: Carried) -> bytes:
    """The file to carry to those who sign."""
    fields = {
        "sealane_changes": FORMAT,
        "fleet": carried.fleet,
        "changes": [change_to_json(change) for change in carried.changes],
        "current": {role: json.loads(content) for role, content in carried.current.items()},
        "roots": [json.loads(content) for content in carried.roots],
    }
    return json.dumps(fields, indent=1, sort_keys=True).encode() + b"\n"


def decode_file(content: bytes) -> Carried:
    """Read the file; raises Refused when it is none."""
    hint = "make one with: sealane trust export"
    if len(content) > FILE_BYTES:
        raise Refused(f"a file with changes has at most {FILE_BYTES} bytes", hint=hint)
    try:
        fields = json.loads(content)
        if fields["sealane_changes"] != FORMAT:
            raise Refused(f"this version reads files with changes of format {FORMAT} only")
        current = {
            parse_family(role): json.dumps(document).encode()
            for role, document in fields["current"].items()
        }
        return Carried(
            str(fields["fleet"]),
            tuple(change_from_json(change) for change in fields["changes"]),
            current,
            tuple(json.dumps(document).encode() for document in fields["roots"][:ROOT_ROTATIONS]),
        )
    except _BROKEN as error:
        raise Refused("this is not a file with changes", hint=hint) from error


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return moment
