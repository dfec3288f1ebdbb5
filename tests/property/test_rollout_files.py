"""Rollout files: whatever can be asked for can be written, and no bytes do more than be refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from sealane.names import ReleaseName, SlotName
from sealane.policy import WHOLE, Trial
from sealane_manager.errors import WrongFile
from sealane_manager.gate.types import CHECKS, Breach, Checks, Mode
from sealane_manager.rollout.terms import Freeze, Limit, OnConflict, Pace, Retries, Terms, Times
from sealane_manager.rollout.types import GatePolicy, OnFailure, RolloutSpec, Stage
from sealane_manager.rollout_file.dumping import text
from sealane_manager.rollout_file.reading import RolloutFile, read
from sealane_manager.rollout_file.writing import differences

names = st.from_regex(r"[a-z0-9]([a-z0-9_.-]{0,10}[a-z0-9])?", fullmatch=True)
counts = st.integers(0, 2**31 - 1)
spans = st.integers(0, 999_999).map(lambda seconds: timedelta(seconds=seconds))
ratios = st.floats(0, 100, allow_nan=False).map(lambda ratio: round(ratio, 6))
days = st.dates(date(2020, 1, 1), date(2090, 1, 1))
moments = st.datetimes(datetime(2020, 1, 1), datetime(2090, 1, 1)).map(  # noqa: DTZ001 - made aware below
    lambda moment: moment.replace(tzinfo=UTC)
)
words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30)
stages = st.one_of(
    st.integers(1, 10**9 - 1).map(lambda count: Stage(count=count)),
    st.integers(1, 100).map(lambda percent: Stage(percent=percent)),
    st.sampled_from(("line=a, gpu", "site in (berlin,paris)")).map(
        lambda selector: Stage(selector=selector)
    ),
    names.map(lambda label: Stage(group=f"x{label}")),
)
checks = st.tuples(
    *(
        st.none()
        | st.builds(
            replace,
            st.just(check),
            tolerate=ratios,
            proceed_below=ratios,
            mode=st.sampled_from(Mode),
            breach=st.sampled_from(Breach),
        )
        for check in CHECKS
    )
).map(lambda found: tuple(each for each in found if each))
specs = st.builds(
    RolloutSpec,
    release=st.builds(
        ReleaseName, st.tuples(names, names).map("/".join), st.integers(1, 2**31 - 1)
    ),
    slot=names.map(SlotName),
    selector=st.sampled_from(["", "gpu, !old", "site in (berlin,paris), line!=3"]),
    stages=st.lists(stages, max_size=5).map(tuple),
    soak=spans,
    gate=st.builds(
        GatePolicy,
        counts,
        st.integers(0, 100),
        spans,
        counts,
        st.booleans(),
        st.builds(Checks, ratios, st.booleans(), checks),
    ),
    on_failure=st.sampled_from(OnFailure),
    terms=st.builds(
        Terms,
        st.builds(
            Pace,
            st.none() | counts,
            st.none() | counts,
            st.lists(
                st.builds(
                    Limit, names, counts, st.lists(names, max_size=3).map(tuple), st.booleans()
                ),
                max_size=3,
            ).map(tuple),
        ),
        st.builds(
            Times,
            st.none() | moments,
            st.none() | spans,
            st.lists(st.builds(Freeze, days, days), max_size=3).map(tuple),
            st.none() | spans,
            st.lists(names, max_size=2).map(tuple),
        ),
        counts,
        st.sampled_from(OnConflict),
        st.booleans(),
        st.just(WHOLE)
        | st.builds(
            Trial,
            st.integers(1, 99).map(lambda percent: percent / 100),
            st.integers(0, 600_000).map(float),
        ),
        st.builds(Retries, counts, spans),
        st.none() | st.integers(1, 600_000).map(lambda seconds: timedelta(seconds=seconds)),
    ),
)


@given(names, specs, words)
def test_whatever_can_be_asked_for_is_written_and_read_back(
    name: str, spec: RolloutSpec, reason: str
) -> None:
    asked = RolloutFile(name, spec, reason)
    assert read(text(asked).encode(), "r.yaml") == asked


@given(specs, specs)
def test_two_rollouts_differ_exactly_when_they_ask_for_different_things(
    one: RolloutSpec, other: RolloutSpec
) -> None:
    assert differences(one, one) == ()
    assert (differences(one, other) == ()) == (one == other)


@given(st.one_of(st.binary(max_size=300), st.text("{}[]&*!|>-:?,'\"#%@ \n\tab1", max_size=300)))
def test_any_bytes_are_read_or_refused_in_one_line(content: bytes | str) -> None:
    raw = content.encode() if isinstance(content, str) else content
    try:
        read(raw, "r.yaml")
    except WrongFile as error:
        assert "\n" not in str(error)  # noqa: PT017 - what is not refused is read
