from __future__ import annotations

from datetime import timedelta

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from sealane.policy import WHOLE, Trial
from sealane_manager.cli.arguments import parse_bounded, parse_duration, parse_labels, parse_trial


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("0s", timedelta(0)),
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("24h", timedelta(days=1)),
        ("7d", timedelta(days=7)),
    ],
)
def test_durations_are_a_number_and_a_unit(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@given(st.text(max_size=8))
def test_any_other_text_is_a_usage_error(text: str) -> None:
    try:
        assert parse_duration(text) >= timedelta(0)
    except typer.BadParameter as error:
        assert "duration" in str(error)  # noqa: PT017 - most texts end here, some are durations


@pytest.mark.parametrize(
    ("text", "why"), [("29m", "at least 30m"), ("25h", "at most 1d"), ("ever", "not a duration")]
)
def test_a_duration_out_of_range_is_a_usage_error_that_names_the_limit(text: str, why: str) -> None:
    half_an_hour, day = timedelta(minutes=30), timedelta(days=1)
    with pytest.raises(typer.BadParameter, match=why):
        parse_bounded(text, half_an_hour, day)
    assert parse_bounded("30m", half_an_hour, day) == half_an_hour
    assert parse_bounded("24h", half_an_hour, day) == day
    assert parse_bounded("900d", half_an_hour) == timedelta(days=900)


def test_labels_are_key_equals_value_and_values_may_hold_an_equals_sign() -> None:
    assert parse_labels(["site=berlin", "note=a=b"]) == {"site": "berlin", "note": "a=b"}
    with pytest.raises(typer.BadParameter):
        parse_labels(["site"])


def test_a_trial_is_a_share_and_a_time() -> None:
    assert parse_trial("", "", "") == WHOLE
    assert parse_trial("25%", "", "") == Trial(0.25, 0)
    assert parse_trial("50%", "30m", "") == Trial(0.5, 1800)


@pytest.mark.parametrize(
    ("split", "lasts", "why"),
    [
        ("", "30m", "needs --split"),
        ("50", "", "1% to 99%"),
        ("0%", "", "1% to 99%"),
        ("100%", "", "1% to 99%"),
        ("50%", "8d", "a trial takes"),
    ],
)
def test_a_trial_that_makes_no_sense_is_a_usage_error(split: str, lasts: str, why: str) -> None:
    with pytest.raises(typer.BadParameter, match=why):
        parse_trial(split, lasts, "")
