"""Reads a rollout file: each field checked where it stands, all joined to what is asked for.

Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sealane.errors import InvalidName
from sealane.policy import WHOLE, Trial

from sealane_manager.gate.types import CHECKS, Breach, Check, Checks, Mode
from sealane_manager.rollout.terms import OnConflict, Pace, Retries, Terms, Times
from sealane_manager.rollout.types import GatePolicy, OnFailure, RolloutSpec
from sealane_manager.rollout_file import nodes
from sealane_manager.rollout_file.fields import FIELDS, GROUPS, NONE, most
from sealane_manager.rollout_file.nodes import Entries, Items, Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sealane_manager.rollout_file.fields import Field, Written
    from sealane_manager.rollout_file.nodes import Node, Place


@dataclass(frozen=True, slots=True)
class RolloutFile:
    """What a file asks for.

    Attributes:
        name: what the rollout is called; a later file of the same name is about the same rollout.
        reason: for the log.
    """

    name: str
    spec: RolloutSpec
    reason: str = ""


def read(content: bytes, file: str) -> RolloutFile:
    """What a file asks for; raises WrongFile with the line and the column."""
    root = nodes.read(content, file)
    found = dict(_values(root, ""))
    for path, field in FIELDS.items():
        if field.default is None and path not in found:
            raise root.place.wrong(f"{path} is missing: {field.about}")
    if "split.for" in found and "split.share" not in found:
        raise root.place.wrong("split.for needs split.share: say which share, like 50%")
    return rollout_file({**_defaults(), **found})


def rollout_file(written: Written) -> RolloutFile:
    """What is asked for, from every field as text."""
    value = {path: _meant(path, text) for path, text in written.items()}
    spec = RolloutSpec(
        release=value["release"],
        slot=value["slot"],
        selector=value["selector"],
        stages=value["stages"],
        soak=value["soak"],
        gate=_gate(value),
        on_failure=OnFailure(value["on_failure"]),
        terms=Terms(
            Pace(value["pace.at_once"], value["pace.ramp"], value["pace.limits"]),
            _times(value),
            value["approvals"],
            OnConflict(value["on_conflict"]),
            value["join"],
            _trial(value),
            Retries(value["retries.count"], value["retries.delay"]),
            value["challenge.for"],
        ),
    )
    return RolloutFile(value["name"], spec, value["reason"])


def _times(value: Mapping[str, Any]) -> Times:
    names = ("start", "deadline", "freeze", "stage_deadline", "calendars")
    return Times(*(value[f"times.{name}"] for name in names))


def _trial(value: Mapping[str, Any]) -> Trial:
    times = (value["split.for"], value["shadow.for"])
    seconds = [lasts.total_seconds() if lasts else 0.0 for lasts in times]
    return Trial(value["split.share"] or WHOLE.share, *seconds)


def _defaults() -> Written:
    return {path: each.default for path, each in FIELDS.items() if each.default is not None}


def _meant(path: str, text: str | tuple[str, ...]) -> Any:
    field = FIELDS[path]
    if isinstance(text, tuple):
        return tuple(field.value.read(each) for each in text)
    return None if field.optional and not text else field.value.read(text)


def _gate(value: Mapping[str, Any]) -> GatePolicy:
    checks = tuple(_check(value, check) for check in CHECKS if _mode(value, check) != NONE)
    return GatePolicy(
        max_failed=value["gate.max_failed"],
        max_failed_percent=value["gate.max_failed_percent"],
        silent_after=value["gate.silent_after"],
        min_requests=value["gate.min_requests"],
        by_evidence=value["gate.by_evidence"],
        checks=Checks(value["gate.alpha"], value["gate.prove"], checks),
    )


def _mode(value: Mapping[str, Any], check: Check) -> str:
    return str(value[f"gate.checks.{check.kind}.mode"])


def _check(value: Mapping[str, Any], check: Check) -> Check:
    at = f"gate.checks.{check.kind}"
    return Check(
        check.kind,
        value[f"{at}.tolerate"],
        value[f"{at}.proceed_below"],
        Mode(_mode(value, check)),
        Breach(value[f"{at}.breach"]),
    )


def _values(node: Node, path: str) -> Iterator[tuple[str, str | tuple[str, ...]]]:
    """Every field below a node, in the form in which it is always written."""
    if not isinstance(node, Entries):
        raise node.place.wrong(f"{path or 'the file'} is a mapping: write `key: value` lines")
    for key, child in node.entries.items():
        inner = f"{path}.{key}" if path else key
        if inner in GROUPS:
            yield from _values(child, inner)
        elif inner in FIELDS:
            yield inner, _value(FIELDS[inner], child, inner)
        else:
            raise _unknown(node.keys[key], path, key)


def _unknown(place: Place, path: str, key: str) -> Exception:
    start = f"{path}." if path else ""
    known = sorted(
        {each.removeprefix(start).partition(".")[0] for each in FIELDS if each.startswith(start)}
    )
    return place.wrong(f"{key[:40]!r} means nothing here", f"known are {', '.join(known)}")


def _value(field: Field, node: Node, path: str) -> str | tuple[str, ...]:
    if not field.many:
        return _scalar(field, node, path)
    if not isinstance(node, Items):
        raise node.place.wrong(f"{path} is a list: write [a, b]")
    if len(node.items) > most(path):
        raise node.place.wrong(f"{path} has {len(node.items)} entries; {most(path)} are allowed")
    return tuple(_scalar(field, item, path) for item in node.items)


def _scalar(field: Field, node: Node, path: str) -> str:
    if not isinstance(node, Text):
        raise node.place.wrong(f"{path} is one value, not a list or a mapping")
    try:
        return field.value.text(field.value.read(node.text))
    except InvalidName as error:
        raise node.place.wrong(f"{path}: {error}", error.hint) from error
