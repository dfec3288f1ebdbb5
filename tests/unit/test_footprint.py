from __future__ import annotations

import json

import pytest
from sealane.limits import MIB
from sealane_agent.serving.footprint import (
    BASE,
    KEPT,
    LARGEST,
    Footprint,
    decode,
    encode,
    expected,
    remembered,
)

MEASURED = Footprint(peak=300 * MIB, steady=150 * MIB, load_ms=700)


def test_what_was_measured_here_counts_before_what_the_bundle_says() -> None:
    need = expected(MEASURED, 900 * MIB, 100 * MIB)
    assert (need.peak, need.known) == (300 * MIB, "measured here before")


def test_what_the_bundle_says_counts_before_a_guess() -> None:
    need = expected(None, 900 * MIB, 100 * MIB)
    assert (need.peak, need.known) == (900 * MIB, "as its bundle says")


def test_without_either_a_load_is_guessed_by_the_size_of_its_files() -> None:
    need = expected(None, 0, 100 * MIB)
    assert (need.peak, need.known) == (300 * MIB + BASE, "guessed by its size")


def test_the_largest_that_was_seen_is_remembered_with_the_last_time_it_took() -> None:
    known = remembered({}, "a", MEASURED)
    known = remembered(known, "a", Footprint(200 * MIB, 180 * MIB, 500))
    assert known == {"a": Footprint(300 * MIB, 180 * MIB, 500)}


def test_the_oldest_is_forgotten_when_there_are_too_many() -> None:
    known: dict[str, Footprint] = {}
    for number in range(KEPT + 1):
        known = remembered(known, str(number), MEASURED)
        known = remembered(known, "1", MEASURED)
    assert len(known) == KEPT
    assert "0" not in known
    assert "1" in known


def test_it_reads_back_what_it_writes() -> None:
    known = {"a": MEASURED, "b": Footprint(1, 2, 3)}
    assert decode(json.loads(encode(known))) == known


@pytest.mark.parametrize(
    "fields",
    [
        [],
        {"a": {}},
        {"a": {"peak": -1, "steady": 0, "load_ms": 0}},
        {"a": {"peak": LARGEST + 1, "steady": 0, "load_ms": 0}},
        {"a": 1},
    ],
)
def test_what_is_damaged_is_refused(fields: object) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        decode(fields)
