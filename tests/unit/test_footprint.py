from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealane.limits import MIB
from sealane_agent.serving.admission import Need
from sealane_agent.serving.footprint import (
    BASE,
    LARGEST,
    PLAUSIBLE,
    Footprint,
    believed,
    decode,
    expected,
    foreseen,
)
from sealane_agent.serving.footprints import Footprints
from support.workers import MACHINE, Recipe, deployment_of, lay_out, load_order

if TYPE_CHECKING:
    from pathlib import Path

    from sealane_agent.layout import StateFolder

MEASURED = Footprint(peak=300 * MIB, steady=150 * MIB, load_ms=700)
POINTER = load_order().pointer
(VARIANT,) = deployment_of(Recipe.good()).variants


def test_what_was_measured_here_counts_before_what_the_bundle_says() -> None:
    need = expected(MEASURED, foreseen(900 * MIB, 100 * MIB))
    assert (need.peak, need.known) == (300 * MIB, "measured here before")


def test_what_the_bundle_says_counts_before_a_guess() -> None:
    need = expected(None, foreseen(900 * MIB, 100 * MIB))
    assert (need.peak, need.known) == (900 * MIB, "as its bundle says")


def test_without_either_a_load_is_guessed_by_the_size_of_its_files() -> None:
    need = expected(None, foreseen(0, 100 * MIB))
    assert (need.peak, need.known) == (300 * MIB + BASE, "guessed by its size")


def test_what_was_measured_is_believed_up_to_many_times_what_its_bundle_says() -> None:
    need = foreseen(100 * MIB, 0)
    most = Footprint(PLAUSIBLE * need.peak, MIB, 700)
    assert believed(most, need, MACHINE) == most
    assert believed(Footprint(most.peak + 1, MIB, 700), need, MACHINE) is None
    assert believed(Footprint(MIB, most.peak + 1, 700), need, MACHINE) is None


def test_more_than_the_machine_has_is_not_believed_whatever_the_bundle_says() -> None:
    need = foreseen(MACHINE, 0)
    assert believed(Footprint(MACHINE, MIB, 700), need, MACHINE) is not None
    assert believed(Footprint(MACHINE + 1, MIB, 700), need, MACHINE) is None


@given(
    st.integers(0, LARGEST), st.integers(0, LARGEST), st.integers(0, 2**44), st.integers(1, 2**44)
)
def test_whatever_is_remembered_no_load_is_expected_to_take_more_than_can_be(
    peak: int, declared: int, files: int, machine: int
) -> None:
    need = foreseen(declared, files)
    found = expected(believed(Footprint(peak, 0, 0), need, machine), need)
    most = min(machine, PLAUSIBLE * max(need.peak, BASE))
    assert found == need or (found == Need(peak, "measured here before") and peak <= most)


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    """A device that remembers of the only variant that it took 900 GiB."""
    folder = lay_out(tmp_path, Recipe.good())
    kept = Footprints(folder, LARGEST)
    kept.note(POINTER, VARIANT, MEASURED)
    kept.keep()
    text = folder.footprints.read_text()
    folder.footprints.write_text(text.replace(str(MEASURED.peak), str(900 * 1024 * MIB)))
    return folder


def test_a_damaged_footprint_that_no_load_took_refuses_none(folder: StateFolder) -> None:
    need = Footprints(folder, MACHINE).expected(POINTER)
    assert need.known == "guessed by its size"
    assert need.peak < 2 * BASE


def test_a_damaged_footprint_goes_with_the_next_load_that_is_measured(folder: StateFolder) -> None:
    kept = Footprints(folder, MACHINE)
    kept.note(POINTER, VARIANT, MEASURED)
    kept.keep()
    again = Footprints(folder, MACHINE).expected(POINTER)
    assert (again.peak, again.known) == (MEASURED.peak, "measured here before")


def test_the_largest_that_was_seen_is_remembered_with_the_last_time_it_took(
    tmp_path: Path,
) -> None:
    folder = lay_out(tmp_path, Recipe.good())
    kept = Footprints(folder, MACHINE)
    kept.note(POINTER, VARIANT, MEASURED)
    kept.note(POINTER, VARIANT, Footprint(200 * MIB, 180 * MIB, 500))
    kept.keep()
    (found,) = json.loads(folder.footprints.read_bytes()).values()
    assert decode(found) == Footprint(300 * MIB, 180 * MIB, 500)


def test_it_reads_back_what_it_writes() -> None:
    assert decode(json.loads(json.dumps(asdict(MEASURED)))) == MEASURED


@pytest.mark.parametrize(
    "fields",
    [
        [],
        {},
        {"peak": -1, "steady": 0, "load_ms": 0},
        {"peak": LARGEST + 1, "steady": 0, "load_ms": 0},
        1,
    ],
)
def test_what_is_damaged_is_refused(fields: object) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        decode(fields)  # type: ignore[arg-type]  # damaged on purpose
