"""How much a worker may take follows from what it needed, the machine and the operator's wish."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealane.bundle.types import ProbationLimits
from sealane.limits import MIB
from sealane_agent.serving.control_groups import own_path
from sealane_agent.serving.worker_groups import NoGroups, WorkerGroups, open_groups
from sealane_agent.serving.worker_limits import (
    Limits,
    Surroundings,
    Terms,
    Wish,
    obstacle,
    out_of_memory,
    tolerated_bytes,
)
from support.control_groups import FakeGroupFiles

MACHINE = 8192 * MIB
TERMS = Terms(Wish(), MACHINE)
DELEGATED = Surroundings(
    unified=True,
    writable=True,
    alone=True,
    controllers=frozenset({"memory", "cpu"}),
)
ENDPOINT = 100
BUSY = Wish(processors=1)


def test_a_worker_that_loads_may_hold_twice_what_its_bundle_expects() -> None:
    assert TERMS.while_loading(1000 * MIB) == Limits(2000 * MIB)
    assert TERMS.while_loading(1 * MIB) == Limits(256 * MIB)


def test_a_worker_that_loads_may_hold_no_more_than_was_free_for_it() -> None:
    assert TERMS.while_loading(1000 * MIB, 300 * MIB) == Limits(300 * MIB)
    assert TERMS.while_loading(0, 300 * MIB) == Limits(300 * MIB)
    assert TERMS.while_loading(1000 * MIB, 9000 * MIB) == Limits(2000 * MIB)


def test_a_bundle_that_expects_nothing_may_take_most_of_the_machine_and_never_more() -> None:
    assert TERMS.while_loading(0) == Limits(MACHINE * 3 // 4)
    assert TERMS.while_loading(MACHINE) == Limits(MACHINE * 3 // 4)


def test_a_proved_worker_may_hold_twice_what_its_probation_tolerates() -> None:
    assert TERMS.once_proved(500 * MIB, ProbationLimits()) == Limits(3000 * MIB)
    assert TERMS.once_proved(10 * MIB, ProbationLimits()) == Limits(276 * MIB)


def test_where_nothing_was_measured_or_growth_is_not_judged_the_machine_is_the_limit() -> None:
    unjudged = ProbationLimits(max_memory_ratio=0)
    assert TERMS.once_proved(0, ProbationLimits()) == Limits(MACHINE * 3 // 4)
    assert TERMS.once_proved(100 * MIB, unjudged) == Limits(MACHINE * 3 // 4)


def test_what_the_operator_wrote_down_comes_first() -> None:
    terms = replace(TERMS, wish=Wish(300 * MIB, processors=2))
    wished = Limits(300 * MIB, processors=2)
    assert terms.while_loading(0) == terms.once_proved(MACHINE, ProbationLimits()) == wished
    assert wished.cpu_max == "200000 100000"
    assert Limits(1).cpu_max == "max 100000"


@given(st.integers(1, 2**45), st.floats(1, 100), st.integers(2**28, 2**45))
def test_no_worker_is_ended_for_what_its_probation_tolerates_unless_the_machine_is_too_small(
    proved: int, ratio: float, machine: int
) -> None:
    probation = ProbationLimits(max_memory_ratio=ratio)
    limit = Terms(Wish(), machine).once_proved(proved, probation).memory_bytes
    assert limit >= min(tolerated_bytes(proved, probation), machine * 3 // 4 - 1)
    assert limit <= machine * 3 // 4 + 1


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"unified": False}, "version 1"),
        ({"writable": False}, "no control group was delegated"),
        ({"alone": False}, "shares its control group"),
        ({"controllers": frozenset({"pids"})}, "no memory controller"),
    ],
)
def test_without_a_group_it_says_why(change: dict[str, object], why: str) -> None:
    assert why in obstacle(replace(DELEGATED, **change))  # type: ignore[arg-type]  # fields of it
    assert obstacle(DELEGATED) == ""


def test_nothing_is_touched_where_nothing_was_delegated() -> None:
    files = FakeGroupFiles(ENDPOINT)
    groups = open_groups(replace(DELEGATED, writable=False), files, ENDPOINT, BUSY)
    groups.enter("cam-1", 7, Limits(MIB))
    groups.limit("cam-1", Limits(MIB))
    assert groups.leave("cam-1") == ""
    assert isinstance(groups, NoGroups)
    assert set(files.groups) == {""}


@pytest.mark.parametrize("file", ["make", "cgroup.procs", "cgroup.subtree_control", "cpu.weight"])
def test_a_group_that_cannot_be_divided_is_none(file: str) -> None:
    files = FakeGroupFiles(ENDPOINT)
    files.troubles[file] = errno.EACCES
    groups = open_groups(DELEGATED, files, ENDPOINT, BUSY)
    assert groups.why_not == "the group that was delegated cannot be divided: Permission denied"


@pytest.mark.parametrize("file", ["make", "memory.max", "cgroup.procs"])
def test_a_worker_that_gets_no_group_works_without_limits(file: str) -> None:
    files = FakeGroupFiles(ENDPOINT)
    groups = open_groups(DELEGATED, files, ENDPOINT, BUSY)
    files.begin(7)
    files.troubles[file] = errno.ENOMEM
    groups.enter("cam-1", 7, Limits(MIB))
    files.troubles.clear()
    groups.limit("cam-1", Limits(MIB))
    files.grow(7, 100 * MIB)
    assert 7 in files.held
    assert groups.leave("cam-1") == ""


def test_without_a_processor_controller_memory_alone_is_limited() -> None:
    files = FakeGroupFiles(ENDPOINT, controllers=("memory",))
    found = replace(DELEGATED, controllers=frozenset({"memory"}))
    groups = open_groups(found, files, ENDPOINT, BUSY)
    files.begin(7)
    groups.enter("cam-1", 7, Limits(MIB, processors=1))
    assert files.read("worker-cam-1", "memory.max") == f"{MIB}\n"
    assert files.groups["worker-cam-1"].processes == {7}


def test_processor_time_is_shared_out_between_groups_only_where_a_worker_is_limited_in_it() -> None:
    files = FakeGroupFiles(ENDPOINT)
    open_groups(DELEGATED, files, ENDPOINT, Wish())
    assert files.groups[""].handed_on == {"memory"}
    files = FakeGroupFiles(ENDPOINT)
    open_groups(DELEGATED, files, ENDPOINT, BUSY)
    assert files.groups[""].handed_on == {"memory", "cpu"}


def test_a_group_that_the_kernel_still_clears_goes_with_the_next_one() -> None:
    files = FakeGroupFiles(ENDPOINT)
    groups = open_groups(DELEGATED, files, ENDPOINT, BUSY)
    assert isinstance(groups, WorkerGroups)
    for number in (1, 2):
        files.begin(number)
        groups.enter(f"cam-{number}", number, Limits(MIB))
        files.end(number)
    files.troubles["remove"] = errno.EBUSY
    groups.leave("cam-1")
    assert "worker-cam-1" in files.groups
    files.troubles.clear()
    groups.leave("cam-2")
    assert set(files.groups) == {"", "endpoint"}


def test_a_kernel_without_swap_is_no_trouble() -> None:
    files = FakeGroupFiles(ENDPOINT)
    groups = open_groups(DELEGATED, files, ENDPOINT, BUSY)
    files.begin(7)
    files.troubles["memory.swap.max"] = errno.ENOENT
    groups.enter("cam-1", 7, Limits(MIB))
    assert files.groups["worker-cam-1"].processes == {7}


@pytest.mark.parametrize(
    ("events", "ended"),
    [
        ("low 0\nhigh 3\nmax 12\noom 0\noom_kill 0\n", False),
        ("low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\noom_group_kill 1\n", True),
        ("", False),
        ("oom_kill", False),
    ],
)
def test_only_a_kill_counts_as_having_broken_the_limit(events: str, ended: bool) -> None:  # noqa: FBT001 - a row of the table
    assert out_of_memory(events) is ended


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("0::/system.slice/sealane-endpoint.service\n", "system.slice/sealane-endpoint.service"),
        ("12:memory:/x\n1:name=systemd:/y\n0::/z\n", "z"),
        ("0::/\n", ""),
        ("12:memory:/x\n", ""),
    ],
)
def test_the_own_group_is_that_of_version_2(text: str, path: str) -> None:
    assert own_path(text) == path
