"""Writes what a gate was asked and saw as JSON, and reads it back to the same bits.

Numbers are written in the shortest form that reads back as the same number, so that a judgement
can be made again from its record, years later, and must come out alike. Pure.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sealane_manager.gate.difference import Unit
from sealane_manager.gate.mix import Mix
from sealane_manager.gate.odds import Split, Stratum
from sealane_manager.gate.outcomes import Outcomes
from sealane_manager.gate.ruling import Case, Facts
from sealane_manager.gate.shift import Predicted
from sealane_manager.gate.types import Arms, Breach, Check, Checks, Kind, Mode, Paired, Seen

if TYPE_CHECKING:
    from collections.abc import Mapping


def checks_to_json(checks: Checks) -> dict[str, Any]:
    """What is asked, as a value for JSON."""
    return asdict(checks)


def checks_from_json(value: Mapping[str, Any]) -> Checks:
    """What was asked."""
    return Checks(
        value["alpha"],
        value["prove"],
        tuple(
            Check(
                Kind(each["kind"]),
                each["tolerate"],
                each["proceed_below"],
                Mode(each["mode"]),
                Breach(each["breach"]),
            )
            for each in value["checks"]
        ),
    )


def record(case: Case) -> bytes:
    """Everything that a verdict follows from, in canonical form."""
    value = asdict(case)
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def digest(inputs: bytes) -> str:
    """What a decision log names a record by."""
    return hashlib.sha256(inputs).hexdigest()


def recorded(inputs: bytes) -> Case:
    """What a verdict follows from."""
    value = json.loads(inputs)
    checks = checks_from_json(value["checks"])
    return Case(Facts(**value["facts"]), checks, _seen(value["seen"]))


def _seen(seen: Mapping[str, Any]) -> Seen:
    return Seen(
        stages=seen["stages"],
        minutes=seen["minutes"],
        outcomes=_outcomes(seen["outcomes"]),
        afterwards=_outcomes(seen["afterwards"]),
        classes=seen["classes"],
        split=seen["split"],
        errors=_arms(seen["errors"]),
        latency={float(share): _arms(arms) for share, arms in seen["latency"].items()},
        shadow=tuple(Paired(**each) for each in seen["shadow"]),
        mix=_mix(seen.get("mix")),
        treated=_predicted(seen["treated"]),
        control=_predicted(seen["control"]),
        reporting=seen["reporting"],
        active=seen["active"],
        shock=seen["shock"],
        seed=seen["seed"],
    )


def _mix(value: Mapping[str, Any] | None) -> Mix | None:
    if value is None:
        return None
    logs = tuple(tuple(each) for each in value["logs"])
    return Mix(logs, tuple(value["candidate"]), tuple(value["active"]))


def _outcomes(value: Mapping[str, Any]) -> Mapping[str, Outcomes]:
    return {name: Outcomes(**each) for name, each in value.items()}


def _arms(value: Mapping[str, Any]) -> Arms:
    split = value["split"]
    return Arms(
        Split(tuple(split["harm"]), tuple(split["harmless"]), Stratum(**split["total"]))
        if split
        else None,
        tuple(Unit(**each) for each in value["treated"]),
        tuple(Unit(**each) for each in value["control"]),
    )


def _predicted(value: list[Any]) -> tuple[Predicted, ...]:
    return tuple(Predicted(tuple(each["past"]), tuple(each["now"])) for each in value)
