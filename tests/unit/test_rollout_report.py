"""The report of a rollout: it explains each step, and is one page that needs nothing else."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest
from sealane.names import DeviceId
from sealane_manager.gate.outcomes import Outcomes
from sealane_manager.gate.record import digest, record
from sealane_manager.gate.ruling import Case, Facts
from sealane_manager.gate.types import Checks, Seen
from sealane_manager.report import contents
from sealane_manager.report.page import lasted, page
from sealane_manager.rollout.types import DeviceState, RolloutState
from sealane_manager.store.records import DecisionRecord, JudgementRecord
from support.rollouts import START, a_device, a_rollout, a_spec, devices, view_of

if TYPE_CHECKING:
    from sealane_manager.views import RolloutView

HOSTILE = "<script>alert('x')</script> & \"quoted\" https://evil.example/a.js"
LATER = START + timedelta(minutes=40)


def a_view(**changes: object) -> RolloutView:
    rollout = a_rollout(
        a_spec("1", "100%", selector="site=berlin"),
        devices(DeviceState.SERVING, DeviceState.ROLLED_BACK, DeviceState.SERVING),
        state=RolloutState.REVERTED,
        ended_at=LATER,
        asked=a_spec("1", "100%").stages,
    )
    log = (
        DecisionRecord(START, "r-1", "ada", "start", "vision/defect@2 in cam on 3 devices", ""),
        DecisionRecord(START, "r-1", "controller", "grant", "d1", ""),
        DecisionRecord(LATER, "r-1", "controller", "judge", "stage 1: fail: 3 of 4 failed", "ab"),
        DecisionRecord(LATER, "r-1", "controller", "reverting", "3 of 4 failed", ""),
    )
    view = view_of(rollout, log)
    return replace(view, **changes)  # type: ignore[arg-type]  # as the test says


def a_judgement() -> JudgementRecord:
    facts = Facts(0, "", 1, running=False, limit=0, missing="", soaked=True)
    case = Case(facts, Checks(), Seen(1, 5.0, {"": Outcomes(3, 4)}))
    return JudgementRecord(LATER, 0, "fail", "3 of 4 devices could not serve it", record(case))


def test_each_step_says_who_what_and_why_and_a_judgement_on_which_evidence() -> None:
    found = contents.report(a_view(), [a_judgement()])
    assert found.author == "ada"
    assert found.took == timedelta(minutes=40)
    start, grant, judge, _ = found.timeline
    assert (start.actor, start.meaning, start.judgement) == ("ada", "asked for it", 0)
    assert "permission to activate" in grant.meaning
    assert judge.judgement == 1
    (judged,) = found.judgements
    assert judged.digest == digest(a_judgement().inputs)
    assert any(line.verdict == "harm" for line in judged.lines)


def test_stages_count_what_became_of_their_devices_and_trouble_is_named_first() -> None:
    found = contents.report(a_view(), ())
    assert [(stage.devices, dict(stage.states)) for stage in found.stages] == [
        (1, {"serving": 1}),
        (2, {"rolled_back": 1, "serving": 1}),
    ]
    assert found.devices[0].state is DeviceState.ROLLED_BACK


def test_of_very_many_devices_some_are_named_and_the_others_counted() -> None:
    rollout = a_rollout(a_spec("100%"), tuple(a_device(f"d{n}") for n in range(1003)))
    found = contents.report(view_of(rollout), ())
    assert (len(found.devices), found.more) == (1000, 3)
    assert "And 3 more." in page(found, LATER)


class Outline(HTMLParser):
    """What a page asks a browser for, and whether its links lead somewhere in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.asks: list[str] = []
        self.ids: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        self.asks += [str(values[name]) for name in ("src", "href", "srcset") if name in values]
        self.ids += [str(values["id"])] if "id" in values else []


def test_the_page_needs_nothing_else_and_every_link_leads_into_it() -> None:
    text = page(contents.report(a_view(), [a_judgement()]), LATER)
    outline = Outline(text)
    assert not {"script", "link", "img", "iframe", "object", "form"} & set(outline.tags)
    assert outline.asks == ["#judgement-1"]
    assert "judgement-1" in outline.ids
    assert not re.search(r"url\(|@import|https?:", text)
    assert "@media print" in text
    assert "default-src 'none'" in text
    assert len(set(outline.ids)) == len(outline.ids)


def test_what_others_wrote_is_text_and_nothing_else() -> None:
    view = a_view(reason=HOSTILE, selector=HOSTILE, name=HOSTILE)
    device = replace(view.devices[0], detail=HOSTILE, device=DeviceId(HOSTILE))
    log = tuple(replace(each, actor=HOSTILE, detail=HOSTILE) for each in view.decisions)
    hostile = replace(view, devices=(device,), decisions=log)
    judgement = replace(a_judgement(), reason=HOSTILE)
    text = page(contents.report(hostile, [judgement]), LATER)
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert Outline(text).asks == ["#judgement-1"]


def test_a_rollout_that_has_just_begun_has_a_report_too() -> None:
    view = a_view(state=RolloutState.RUNNING, ended_at=None, decisions=(), devices=())
    text = page(contents.report(view, ()), LATER)
    assert "not yet" in text
    assert "The gate has not moved this rollout." in text


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (13.78374, "14 s"),
        (185, "3 min 5 s"),
        (3600, "1 h"),
        (3605, "1 h"),
        (187200, "2 d 4 h"),
    ],
)
def test_how_long_it_took_is_said_in_two_units_at_most(seconds: float, said: str) -> None:
    assert lasted(timedelta(seconds=seconds)) == said


def test_what_became_of_a_device_is_not_explained_as_what_became_of_the_rollout() -> None:
    log = (
        DecisionRecord(START, "r-1", "device d1", "failed", "it answers otherwise", ""),
        DecisionRecord(LATER, "r-1", "controller", "failed", "", ""),
    )
    of_device, of_rollout = contents.report(view_of(a_rollout(a_spec("1"), ()), log), ()).timeline
    assert of_device.meaning == "nothing changed there"
    assert of_rollout.meaning == "no device was left to prove the release"
