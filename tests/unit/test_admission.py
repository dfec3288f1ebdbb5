from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealane.limits import GIB, MIB
from sealane_agent.serving.admission import (
    RESERVE_LEAST,
    RESERVE_MOST,
    Admitted,
    Asking,
    GiveUp,
    Holding,
    Need,
    Part,
    Refused,
    Space,
    decide,
    exceeded,
    free,
    reserve,
)
from sealane_agent.serving.messages import GivesWay

PLENTY = 64 * GIB


def holding(worker: str, mib: int, part: Part = Part.ACTIVE, **more: object) -> Holding:
    slot = str(more.pop("slot", worker.partition("-")[0]))
    base = Holding(worker, slot, f"plant/{slot}@1", mib * MIB, mib * MIB, part)
    return replace(base, **more)  # type: ignore[arg-type] # the test names fields of a holding


def asking(mib: int, gives_way: GivesWay = GivesWay.IDLE, slot: str = "cam") -> Asking:
    return Asking(slot, Need(mib * MIB, "measured here before"), gives_way)


def warm(worker: str, mib: int, asked: float = 0.0) -> Holding:
    return holding(worker, mib, Part.PREVIOUS, idle=True, asked=asked)


def together(mib: int) -> Space:
    return Space(PLENTY, mib * MIB)


def test_what_fits_is_admitted_beside_all_that_serves() -> None:
    held = (holding("cam-1", 100), warm("gate-1", 100))
    assert decide(asking(100), held, together(300)) == Admitted()


def test_what_ends_anyway_is_waited_for_before_anything_is_given_up() -> None:
    held = (holding("cam-1", 100), holding("cam-2", 100, Part.LEAVING), warm("gate-1", 100))
    assert decide(asking(100), held, together(300)) == GiveUp(("cam-2",))


def test_warm_models_of_other_slots_are_given_up_before_that_of_its_own() -> None:
    held = (holding("cam-2", 100), warm("cam-1", 100, asked=1), warm("gate-1", 100, asked=2))
    assert decide(asking(100), held, together(300)) == GiveUp(("gate-1",))
    assert decide(asking(200), held, together(300)) == GiveUp(("gate-1", "cam-1"))


def test_the_warm_model_that_answered_longest_ago_goes_first() -> None:
    held = (warm("gate-1", 100, asked=9), warm("belt-1", 100, asked=3), holding("cam-1", 100))
    assert decide(asking(100), held, together(300)) == GiveUp(("belt-1",))


def test_no_warm_model_goes_that_a_later_one_makes_needless() -> None:
    held = (warm("gate-1", 10, asked=1), warm("belt-1", 100, asked=2))
    assert decide(asking(100), held, together(110)) == GiveUp(("belt-1",))


def test_nobody_is_given_up_where_that_would_not_be_enough() -> None:
    held = (holding("cam-1", 200), warm("gate-1", 50))
    assert isinstance(decide(asking(100), held, together(280)), Refused)


def test_a_slot_is_interrupted_only_for_a_load_that_may_do_that() -> None:
    held = (holding("cam-1", 200), holding("gate-1", 100))
    assert isinstance(decide(asking(200), held, together(350)), Refused)
    allowed = decide(asking(200, GivesWay.SERVING), held, together(350))
    assert allowed == GiveUp(("cam-1",), interrupts=True)


def test_no_other_slot_is_ever_interrupted() -> None:
    held = (holding("cam-1", 100), holding("gate-1", 200))
    assert isinstance(decide(asking(250, GivesWay.SERVING), held, together(300)), Refused)


def test_a_model_that_something_falls_back_on_is_not_idle() -> None:
    held = (holding("gate-2", 100), holding("gate-1", 100, Part.PREVIOUS))
    assert isinstance(decide(asking(100), held, together(250)), Refused)


def test_what_is_loaded_to_be_compared_ends_nothing() -> None:
    held = (holding("cam-1", 100), warm("gate-1", 100))
    assert isinstance(decide(asking(100, GivesWay.NOTHING), held, together(250)), Refused)


def test_a_promise_that_is_not_used_yet_is_taken_from_what_the_machine_has() -> None:
    loading = holding("", 300, Part.LOADING, slot="gate", held=100 * MIB)
    assert free((loading,), Space(500 * MIB)) == 300 * MIB


def test_a_worker_that_grew_counts_with_what_it_holds() -> None:
    grown = holding("cam-1", 100, held=250 * MIB)
    assert free((grown,), together(300)) == 50 * MIB
    assert exceeded((grown,), together(200))
    assert not exceeded((grown,), Space(0))


def test_the_machine_limits_what_no_setting_does() -> None:
    assert isinstance(decide(asking(100), (), Space(99 * MIB)), Refused)
    assert decide(asking(100), (), Space(100 * MIB)) == Admitted()


def test_a_refusal_says_what_is_needed_what_is_free_and_who_has_the_rest() -> None:
    held = (holding("cam-1", 150), warm("cam-0", 20), holding("gate-1", 50))
    refused = decide(asking(400), held, together(300))
    assert isinstance(refused, Refused)
    assert refused.message == (
        "it needs 400 MiB of memory to load (measured here before), 80 MiB of 300 MiB that models"
        " may hold together are free: cam holds 150 MiB for plant/cam@1 (serving), gate holds"
        " 50 MiB for plant/gate@1 (serving), cam holds 20 MiB for plant/cam@1 (kept warm)"
    )


def test_a_refusal_stays_one_sentence_however_many_slots_there_are() -> None:
    held = tuple(holding(f"slot{n}-1", 10) for n in range(50))
    refused = decide(asking(400), held, together(500))
    assert isinstance(refused, Refused)
    assert refused.message.endswith(", 46 more hold 460 MiB")


@pytest.mark.parametrize(
    ("machine", "kept"),
    [(512 * MIB, RESERVE_LEAST), (4 * GIB, 256 * MIB), (64 * GIB, RESERVE_MOST)],
)
def test_the_reserve_grows_with_the_machine_within_bounds(machine: int, kept: int) -> None:
    assert reserve(machine) == kept


PARTS = st.sampled_from([Part.ACTIVE, Part.PREVIOUS, Part.STANDBY, Part.LOADING, Part.LEAVING])


@st.composite
def holdings(draw: st.DrawFn) -> tuple[Holding, ...]:
    found = []
    for number in range(draw(st.integers(0, 8))):
        part, slot = draw(PARTS), draw(st.sampled_from(["cam", "gate", "belt"]))
        promised, held = draw(st.integers(0, 300)), draw(st.integers(0, 300))
        idle = part is Part.PREVIOUS and draw(st.booleans())
        one = Holding(f"w{number}", slot, "plant/x@1", promised, held, part, idle)
        found.append(replace(one, asked=float(draw(st.integers(0, 9)))))
    return tuple(found)


LOADS = st.builds(
    Asking,
    st.sampled_from(["cam", "gate", "belt"]),
    st.builds(Need, st.integers(0, 900), st.just("")),
    st.sampled_from(list(GivesWay)),
)


@given(LOADS, holdings(), st.integers(-100, 2000), st.integers(0, 2000))
def test_whoever_ends_makes_enough_room_and_nobody_ends_in_vain(
    load: Asking, held: tuple[Holding, ...], available: int, limit: int
) -> None:
    space = Space(available, limit)
    decision = decide(load, held, space)
    if not isinstance(decision, GiveUp):
        return
    gone = [each for each in held if each.worker in decision.workers]
    assert len(gone) == len(decision.workers) > 0
    left = [each for each in held if each not in gone]
    # Once they have ended the machine has back what they held.
    after = Space(available + sum(each.held for each in gone), limit)
    assert decide(load, left, after) == Admitted()
    for each in gone:
        spared = [*left, each]
        freed = Space(after.available - each.held, limit)
        assert each.part is Part.LEAVING or free(spared, freed) < load.need.peak


@given(LOADS, holdings(), st.integers(-100, 2000), st.integers(0, 2000))
def test_only_what_may_give_way_ever_ends(
    load: Asking, held: tuple[Holding, ...], available: int, limit: int
) -> None:
    decision = decide(load, held, Space(available, limit))
    ended = decision.workers if isinstance(decision, GiveUp) else ()
    for each in held:
        if each.worker not in ended or each.part is Part.LEAVING:
            continue
        assert load.gives_way is not GivesWay.NOTHING
        serves = each.part is Part.ACTIVE or not each.idle
        assert not serves or (load.gives_way is GivesWay.SERVING and each.slot == load.slot)


@given(st.lists(st.tuples(LOADS, st.integers(0, 900), st.booleans()), max_size=30))
def test_whatever_is_loaded_and_ends_the_sum_admitted_stays_below_what_there_is(
    steps: list[tuple[Asking, int, bool]],
) -> None:
    """Invariant I7: through loads, proofs, crashes, swaps and refusals in any order."""
    space, held = Space(PLENTY, 1000), list[Holding]()
    for number, (load, size, crashes) in enumerate(steps):
        decision = decide(load, held, space)
        while isinstance(decision, GiveUp):
            held = [each for each in held if each.worker not in decision.workers]
            decision = decide(load, held, space)
        if isinstance(decision, Admitted):
            loading = Holding(
                f"{load.slot}-{number}", load.slot, "", load.need.peak, 0, Part.LOADING
            )
            assert sum(each.promised for each in (*held, loading)) <= space.together
            # What is proved holds what it took, and goes again where that is too much together.
            proved = replace(loading, promised=size, held=size, part=Part.STANDBY)
            if not exceeded((*held, proved), space):
                held = _activated(held, proved, crashes=crashes)
        assert sum(each.promised for each in held) <= space.together


def _activated(held: list[Holding], new: Holding, *, crashes: bool) -> list[Holding]:
    """It serves, what served is kept warm, what was warm ends; who crashed holds nothing."""
    kept = [
        replace(each, part=Part.PREVIOUS, idle=True) if each.slot == new.slot else each
        for each in held
        if not (each.slot == new.slot and each.part is Part.PREVIOUS)
    ]
    return [*kept, replace(new, part=Part.ACTIVE, held=0 if crashes else new.held)]
