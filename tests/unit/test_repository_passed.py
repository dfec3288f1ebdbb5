"""A test is left out of a run only because it passed, itself, in an earlier one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support import passed

if TYPE_CHECKING:
    from pathlib import Path


def report(name: str, when: str, outcome: str) -> pytest.TestReport:
    location = (name, None, name)
    return pytest.TestReport(name, location, {}, outcome, None, when)  # type: ignore[arg-type]  # both are literals


def test_only_tests_that_passed_themselves_are_noted(tmp_path: Path) -> None:
    reports = [
        report("good", "setup", "passed"),
        report("good", "call", "passed"),
        report("skipped", "setup", "skipped"),
        report("broken", "call", "failed"),
        report("never begun", "setup", "passed"),
    ]
    passed.note(tmp_path / "passed", reports)
    assert passed.noted(tmp_path / "passed") == {"good"}


def test_a_run_that_noted_nothing_leaves_nothing_out(tmp_path: Path) -> None:
    assert passed.noted(tmp_path / "never written") == frozenset()
