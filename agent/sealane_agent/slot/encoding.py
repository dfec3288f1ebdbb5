"""How the journal writes attempts and events: JSON that a person can read."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from dataclasses import asdict
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from sealane.bundle.types import ProbationLimits
from sealane.failure import Failure, FailureKind
from sealane.fleet import SlotReport
from sealane.names import ReleaseName, parse_digest, parse_slot
from sealane.policy import policy_from_json, policy_to_json
from sealane.receipt import SignedReceipt

from sealane_agent.serving.messages import Proved, Traffic
from sealane_agent.slot.state import Attempt, Choice, State

if TYPE_CHECKING:
    from typing import Any

_BESIDE: Final = ("degraded", "hardware", "why")
"""What came later to a choice."""

_SAID: Final = ("degraded", "chosen")
"""What came later to a report."""

_MEASURED: Final = ("p95_us", "rows_per_s", "given_up")
"""What came later to a proof."""


def encode_attempt(attempt: Attempt) -> str:
    """An attempt as JSON."""
    fields = asdict(attempt) | {"policy": policy_to_json(attempt.policy)}
    if attempt.choice is not None:
        # Beside the choice: an agent that goes back to a version without them reads what is here.
        fields |= {name: fields["choice"].pop(name) for name in _BESIDE}
        proved = fields["choice"]["proved"]
        fields["measured"] = {name: proved.pop(name) for name in _MEASURED}
    return json.dumps(fields, default=_moment, sort_keys=True)


@lru_cache(maxsize=16)  # a slot reads its record again and again
def decode_attempt(text: str) -> Attempt:
    """Read an attempt; raises ValueError, KeyError, TypeError or InvalidName when damaged."""
    fields: dict[str, Any] = json.loads(text)
    retry_at, choice, failure = fields["retry_at"], fields["choice"], fields["failure"]
    lease = fields.get("lease_until")
    return Attempt(
        slot=parse_slot(fields["slot"]),
        release=ReleaseName(**fields["release"]),
        manifest=parse_digest(fields["manifest"]),
        rollout=fields["rollout"],
        state=State(fields["state"]),
        since=datetime.fromisoformat(fields["since"]),
        fetched=fields["fetched"],
        choice=_choice(choice, fields) if choice else None,
        limits=ProbationLimits(**fields["limits"]),
        restarts=fields["restarts"],
        retries=fields["retries"],
        retry_at=datetime.fromisoformat(retry_at) if retry_at else None,
        traffic=Traffic(**fields["traffic"]),
        failure=_failure(failure) if failure else None,
        policy=policy_from_json(fields.get("policy")),
        lease_until=datetime.fromisoformat(lease) if lease else None,
        boot=fields.get("boot", ""),
        staged_in=fields.get("staged_in", ""),
        number=fields.get("number", 0),
    )


def encode_body(body: SlotReport | SignedReceipt) -> str:
    """What an event says, as JSON."""
    if isinstance(body, SlotReport):
        fields = asdict(body)
        if not body.attempt:
            # An agent that goes back to a version without attempts reads what this one wrote.
            del fields["attempt"]
        later = {name: fields.pop(name) for name in _SAID}
        said = {"report": fields} | {name: text for name, text in later.items() if text}
        return json.dumps(said, sort_keys=True)
    signed = {name: b64encode(value).decode() for name, value in asdict(body).items()}
    return json.dumps({"receipt": signed}, sort_keys=True)


def decode_body(text: str) -> SlotReport | SignedReceipt:
    """Read what an event says; raises ValueError, KeyError, TypeError or InvalidName."""
    fields: dict[str, Any] = json.loads(text)
    if "receipt" in fields:
        return SignedReceipt(**{key: b64decode(text) for key, text in fields["receipt"].items()})
    report = fields["report"]
    failure = report.pop("failure")
    slot = parse_slot(report.pop("slot"))
    report |= {name: str(fields.get(name, "")) for name in _SAID}
    return SlotReport(slot=slot, failure=_failure(failure) if failure else None, **report)


def _moment(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is not a value of the journal")


def _choice(choice: dict[str, Any], fields: dict[str, Any]) -> Choice:
    beside: dict[str, Any] = {name: str(fields.get(name, "")) for name in _BESIDE}
    proved = Proved(**choice["proved"], **fields.get("measured", {}))
    return Choice(**(choice | beside | {"proved": proved}))


def _failure(fields: dict[str, Any]) -> Failure:
    return Failure(**(fields | {"kind": FailureKind(fields["kind"])}))
