"""Which version of the agent may come to a device, and what its contract may say."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sealane.bundle.agent import AgentContract, order_of, parse_contract
from sealane.errors import BundleError
from sealane_agent.upgrade.fitness import Here, left_to_the_package, unfit

HERE = Here("x86_64", "linux", "3.11", "1.2.0")
SAID = AgentContract("1.3.0", "x86_64", "linux", "3.11", 1000, 60.0)


def test_a_newer_version_for_this_machine_may_come() -> None:
    assert unfit(SAID, HERE, downgrade=False) == ""
    assert unfit(replace(SAID, version="1.2.0"), HERE, downgrade=False) == ""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"arch": "aarch64"}, "it is for architecture aarch64, this device has x86_64"),
        ({"os": "darwin"}, "it is for system darwin, this device has linux"),
        ({"python": "3.13"}, "it is for python 3.13, this device has 3.11"),
    ],
)
def test_a_version_for_another_machine_is_refused(change: dict[str, str], reason: str) -> None:
    assert unfit(replace(SAID, **change), HERE, downgrade=True) == reason  # type: ignore[arg-type]  # of text fields alone


@pytest.mark.parametrize("older", ["1.1.9", "1.1", "0.9-2", "1.2"])
def test_an_older_version_needs_permission(older: str) -> None:
    said = replace(SAID, version=older)
    assert "older than 1.2.0" in unfit(said, HERE, downgrade=False)
    assert unfit(said, HERE, downgrade=True) == ""


def test_versions_are_compared_as_numbers() -> None:
    assert order_of("1.10.0") > order_of("1.9.9-4+deb12")
    assert order_of("nonsense") == ()


def test_a_device_that_is_left_to_its_package_says_so() -> None:
    failure = left_to_the_package()
    assert failure.element == "upgrade.by"
    assert "rollout" in failure.hint


def test_a_contract_is_read_as_it_was_written() -> None:
    assert parse_contract(SAID.encode()) == SAID


@pytest.mark.parametrize(
    "change",
    [
        {"version": ""},
        {"version": "x"},
        {"version": "1.2.3; rm -rf /"},
        {"version": "9" * 9},
        {"arch": "../x"},
        {"os": ""},
        {"python": "2.7"},
        {"python": "3.11.4"},
        {"unpacked_bytes": -1},
        {"unpacked_bytes": 2**50},
        {"probation_s": 1e9},
        {"probation_s": -1.0},
    ],
)
def test_a_contract_that_is_malformed_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(BundleError):
        parse_contract(replace(SAID, **change).encode())  # type: ignore[arg-type]  # what is wrong is the point


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"format": 2}', b"x" * 100_000])
def test_what_is_no_contract_is_refused(content: bytes) -> None:
    with pytest.raises(BundleError):
        parse_contract(content)
