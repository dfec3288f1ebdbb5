"""A rollout as a file: what is read, what is refused and where, what is written back."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import jsonschema
import pytest
import yaml
from sealane.policy import Trial
from sealane_manager.errors import NotKnown, Refused, WrongFile
from sealane_manager.gate.types import CHECKS, Breach, Checks, Kind, Mode
from sealane_manager.rollout.terms import Freeze, Limit, OnConflict, Pace, Terms, Times
from sealane_manager.rollout.types import GatePolicy, OnFailure, RolloutState, Stage
from sealane_manager.rollout_file.applying import Outcome, Wish, outcome
from sealane_manager.rollout_file.dumping import text
from sealane_manager.rollout_file.nodes import DEEPEST, FILE_BYTES
from sealane_manager.rollout_file.reading import RolloutFile, read
from sealane_manager.rollout_file.schema import schema
from sealane_manager.rollout_file.writing import differences
from support.repository import ROOT
from support.rollouts import START, a_rollout, a_spec, devices

if TYPE_CHECKING:
    from sealane_manager.rollout.types import Rollout, RolloutSpec

HEAD = "sealane: rollout/v1\nname: defect\nrelease: vision/defect@2\nslot: cam\n"
WHOLE = (
    HEAD
    + """\
selector: site in (berlin,paris), line!=3
stages: [1, 40%]
soak: 1800s
on_failure: pause
on_conflict: queue
approvals: 2
join: true
reason: better on scratches
gate:
  max_failed: 1
  max_failed_percent: 5
  min_requests: 20
  silent_after: 10m
  by_evidence: true
  alpha: 0.02
  prove: true
  checks:
    latency: {mode: dry_run, tolerate: 1.3, proceed_below: 2}
    disagreement: {mode: none}
    prediction_shift: {breach: fail}
pace: {at_once: 10, ramp: 2, limits: [site=2, group=1]}
split: {share: 50%, for: 30m}
shadow: {for: 10m}
times:
  start: 2026-12-24T06:00+01:00
  deadline: 2d
  freeze: [2026-12-24..2027-01-02, 2027-05-01]
"""
)


def asked(content: str) -> RolloutFile:
    return read(content.encode(), "r.yaml")


def refused(content: str) -> str:
    with pytest.raises(WrongFile) as caught:
        asked(content)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_short_file_asks_for_what_the_command_line_asks_for_by_itself() -> None:
    spec = a_spec("1", "40%", "100%", soak=timedelta(seconds=30))
    assert asked(HEAD) == RolloutFile("defect", spec)


def test_every_term_can_be_written() -> None:
    found = asked(WHOLE)
    spec = found.spec
    assert found.reason == "better on scratches"
    assert spec.stages == (Stage(count=1), Stage(percent=40))
    assert (spec.selector, spec.soak) == (
        "site in (berlin,paris), line!=3",
        timedelta(minutes=30),
    )
    assert spec.on_failure is OnFailure.PAUSE
    start = datetime(2026, 12, 24, 5, tzinfo=UTC)
    assert spec.terms == Terms(
        Pace(10, 2, (Limit("site", 2), Limit("group", 1))),
        Times(
            start,
            timedelta(days=2),
            (
                Freeze(date(2026, 12, 24), date(2027, 1, 2)),
                Freeze(date(2027, 5, 1), date(2027, 5, 1)),
            ),
        ),
        2,
        OnConflict.QUEUE,
        joins=True,
        trial=Trial(0.5, 1800, 600),
    )
    gate = spec.gate
    assert (gate.max_failed, gate.max_failed_percent, gate.min_requests) == (1, 5, 20)
    assert (gate.silent_after, gate.by_evidence) == (timedelta(minutes=10), True)
    assert (gate.checks.alpha, gate.checks.prove) == (0.02, True)
    latency = gate.checks.of(Kind.LATENCY)
    assert latency
    assert (latency.mode, latency.tolerate, latency.proceed_below) == (Mode.DRY_RUN, 1.3, 2.0)
    assert gate.checks.of(Kind.DISAGREEMENT) is None
    predictions = gate.checks.of(Kind.PREDICTIONS)
    assert predictions
    assert predictions.breach is Breach.FAIL


@pytest.mark.parametrize("content", [HEAD, WHOLE])
def test_what_is_written_back_asks_for_the_same(content: str) -> None:
    found = asked(content)
    assert asked(text(found)) == found


def test_what_is_not_said_is_not_written_back() -> None:
    assert text(asked(HEAD)) == HEAD


@pytest.mark.parametrize(
    ("line", "place", "words"),
    [
        ("soak: 30x\n", "5:7", "soak: '30x' is not a duration"),
        ("soka: 30m\n", "5:1", "'soka' means nothing here"),
        ("gate:\n  max_faild: 1\n", "6:3", "'max_faild' means nothing here"),
        ("stages: 1\n", "5:9", "stages is a list"),
        ("stages: [1, 140%]\n", "5:13", "'140%' is not a stage"),
        ("selector: [a]\n", "5:11", "selector is one value"),
        ("selector: site in (\n", "5:11", "selector is wrong at character"),
        ("gate: 3\n", "5:7", "gate is a mapping"),
        ("soak: 1m\nsoak: 2m\n", "6:1", "'soak' stands here already, in line 5"),
        ("join: yes\n", "5:7", "neither true nor false"),
        ("approvals: 0x10\n", "5:12", "'0x10' is not a count"),
        ("approvals: 1_0\n", "5:12", "is not a count"),
        ("approvals: ٣\n", "5:12", "is not a count"),
        ("approvals:\n", "5:11", "'' is not a count"),
        ("gate: {alpha: .inf}\n", "5:15", "'.inf' is not a number"),
        ("on_failure: ignore\n", "5:13", "none of revert, keep, pause"),
        ("split: {share: 100%}\n", "5:16", "'100%' is no share"),
        ("split: {for: 8d}\n", "5:14", "a trial takes at most"),
        ("split: {for: 1d}\n", "1:1", "split.for needs split.share"),
        ("times: {start: tomorrow}\n", "5:16", "'tomorrow' is no moment"),
        ("times: {freeze: [2026-W01-1]}\n", "5:18", "are no days"),
        ("pace: {limits: [site]}\n", "5:17", "'site' is not a limit"),
        ("a: &a [1]\n", "5:4", "anchors and aliases are not read"),
        ("<<: *a\n", "5:5", "anchors and aliases are not read"),
        ("reason: !!python/object/apply:os.system [ls]\n", "5:9", "tags are not read"),
        ("reason: !local x\n", "5:9", "tags are not read"),
        ("? [a]\n: 1\n", "5:3", "a key is a word"),
        ("---\nname: b\n", "5:1", "a second document"),
        ("reason: 'open\n", "6:1", "this is no YAML"),
        ("reason: @x\n", "5:9", "this is no YAML"),
        ("gate: {checks: {speed: {}}}\n", "5:17", "'speed' means nothing here"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_column(line: str, place: str, words: str) -> None:
    message = refused(HEAD + line)
    assert message.startswith(f"r.yaml:{place}: ")
    assert words in message


def test_what_must_be_there_is_missed() -> None:
    assert "slot is missing" in refused(HEAD.replace("slot: cam\n", ""))
    assert "none of rollout/v1" in refused(HEAD.replace("v1", "v9"))
    assert "is empty" in refused("")
    assert "is empty" in refused("# nothing\n")
    assert "the file is a mapping" in refused("- a\n")
    assert "directives are not read" in refused("%YAML 1.1\n---\n" + HEAD)


def test_what_only_attackers_write_is_refused_before_it_costs_anything() -> None:
    bomb = "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\n"
    assert "anchors" in refused(bomb)
    assert f"{FILE_BYTES} bytes" in refused("a" * (FILE_BYTES + 1))
    assert f"more than {DEEPEST} levels" in refused("[" * 100_000)
    assert f"more than {DEEPEST} levels" in refused("a: " + "{a: " * 50_000)
    assert f"more than {DEEPEST} levels" in refused("- " * 100_000)
    many = ", ".join(["1"] * 1000)
    assert "stages has 1000 entries; 32 are allowed" in refused(f"{HEAD}stages: [{many}]\n")
    with pytest.raises(WrongFile, match="not UTF-8"):
        read(b"a: \xff\n", "r.yaml")
    with pytest.raises(WrongFile, match=r"U\+0000"):
        read(b"a: \x00\n", "r.yaml")


def test_the_published_schema_is_the_one_of_this_code() -> None:
    published = json.loads((ROOT / "docs" / "rollout.schema.json").read_text())
    assert published == schema(), "run `sealane export schema docs`"


@pytest.mark.parametrize("content", [HEAD, WHOLE.replace("2026-12-24T06:00+01:00", "'2026-12-24'")])
def test_the_schema_takes_what_the_reader_takes(content: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    asked(content)
    checker = jsonschema.Draft202012Validator(schema())
    found = yaml.safe_load(content)
    found.get("times", {}).pop("freeze", None)  # this library makes days of single ones
    checker.validate(found)
    checker.validate(yaml.safe_load(text(asked(content.replace(", 2027-05-01", "")))))


@pytest.mark.parametrize(
    "line", ["soka: 30m", "soak: 30x", "stages: 1", "gate: {max_failed: -1}", "on_failure: no"]
)
def test_the_schema_refuses_what_the_reader_refuses(line: str) -> None:
    refused(f"{HEAD}{line}\n")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema()).validate(yaml.safe_load(f"{HEAD}{line}\n"))


# What a file does


def running(spec: RolloutSpec, **changes: object) -> Rollout:
    return a_rollout(spec, devices(), **{"asked": spec.stages, "name": "defect", **changes})


def test_the_first_file_of_a_name_starts_and_the_same_again_changes_nothing() -> None:
    wish = Wish("defect", a_spec("1"))
    assert outcome(wish, None) is Outcome.STARTED
    assert outcome(wish, running(wish.spec)) is Outcome.UNCHANGED


def test_the_same_file_stays_without_effect_whatever_became_of_its_rollout() -> None:
    wish = Wish("defect", a_spec("1"))
    ended = running(wish.spec, state=RolloutState.REVERTED, ended_at=START)
    assert outcome(wish, ended) is Outcome.UNCHANGED


def test_a_changed_file_is_refused_while_the_rollout_is_not_over() -> None:
    wish = Wish("defect", a_spec("1", soak=timedelta(minutes=1)))
    with pytest.raises(Refused, match=r"running as r-1.* soak 10m → 1m") as caught:
        outcome(wish, running(a_spec("1")))
    assert "on_conflict: supersede" in caught.value.hint


def test_a_changed_file_takes_over_when_it_says_so_and_starts_anew_when_the_last_is_over() -> None:
    spec = a_spec("2", terms=Terms(on_conflict=OnConflict.SUPERSEDE))
    assert outcome(Wish("defect", spec), running(a_spec("1"))) is Outcome.SUPERSEDED
    ended = running(a_spec("1"), state=RolloutState.SUCCEEDED, ended_at=START)
    assert outcome(Wish("defect", spec), ended) is Outcome.STARTED


def test_a_name_that_is_an_id_means_that_rollout_or_nothing() -> None:
    with pytest.raises(NotKnown, match="no rollout r-0badcafe"):
        outcome(Wish("r-0badcafe", a_spec("1")), None)


def test_stages_compare_as_they_were_asked_for_not_as_they_were_planned() -> None:
    spec = a_spec("1", "100%")
    planned = replace(running(spec), spec=replace(spec, stages=(Stage(percent=100),)))
    assert outcome(Wish("defect", spec), planned) is Outcome.UNCHANGED


def test_the_order_of_checks_is_no_difference_and_a_missing_one_is() -> None:
    turned = a_spec("1", gate=GatePolicy(checks=Checks(checks=tuple(reversed(CHECKS)))))
    fewer = a_spec("1", gate=GatePolicy(checks=Checks(checks=CHECKS[1:])))
    assert differences(a_spec("1"), turned) == ()
    (found,) = differences(a_spec("1"), fewer)
    assert (found.field, found.before, found.after) == (
        "gate.checks.device_outcome.mode",
        "enforce",
        "none",
    )
