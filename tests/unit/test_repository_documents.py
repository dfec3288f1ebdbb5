"""The documents say what is there: files, links and commands."""

from __future__ import annotations

import os
import re
import shlex
from typing import TYPE_CHECKING

import pytest
from sealane_manager.gate.judge import judge
from sealane_manager.gate.outcomes import Outcomes
from sealane_manager.gate.types import Seen
from sealane_manager.rollout.case import asked
from sealane_manager.rollout.types import GatePolicy
from support.repository import ROOT, documents, relative, shell_lines

if TYPE_CHECKING:
    from pathlib import Path

_CODE_WORD = re.compile(r"`([^`\s]+)`")
_SOURCE_FILE = re.compile(
    r"(?!/)[\w.*/-]+/[\w.*-]+\.(?:py|proto|md|toml|yaml)|(?:scripts|\.ci)/[\w.-]+"
)
_STATE = re.compile(r'self\.root / "([^"]+)"')
_LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
_TEST = re.compile(r"^(?:async )?def (test_\w+)", re.MULTILINE)
_NAMED_TEST = re.compile(r"`(test_\w+)`")
_WHERE_NAMES_BEGIN = (
    ROOT,
    ROOT / "core" / "sealane",
    ROOT / "agent" / "sealane_agent",
    ROOT / "manager" / "sealane_manager",
)
_RECORD_PARTS = ("Status:", "**Context.**", "**Decision.**", "**Consequences.**", "**Evidence.**")


def files_named_in(document: Path) -> set[str]:
    words = _CODE_WORD.findall(document.read_text())
    return {word for word in words if _SOURCE_FILE.fullmatch(word) and "NNNN" not in word}


@pytest.mark.parametrize("document", documents(), ids=relative)
def test_every_file_that_a_document_names_exists(document: Path) -> None:
    missing = {
        name
        for name in files_named_in(document)
        if not any(any(folder.glob(name)) for folder in _WHERE_NAMES_BEGIN)
    }
    assert missing == set()


def test_the_architecture_walks_through_many_files_of_each_distribution() -> None:
    named = files_named_in(ROOT / "docs" / "architecture.md")
    for distribution in ("core", "agent", "manager"):
        assert sum(name.startswith(f"{distribution}/") for name in named) >= 6


@pytest.mark.parametrize(("part", "before"), [("manager", "Agent (`"), ("agent", "To move a")])
def test_the_architecture_names_whatever_lies_in_a_state_folder(part: str, before: str) -> None:
    layout = (ROOT / part / f"sealane_{part}" / "layout.py").read_text()
    table = (ROOT / "docs" / "architecture.md").read_text().partition("## State folders")[2]
    told = table.partition(f"{part.title()} (`")[2].partition(before)[0]
    names = set(_STATE.findall(layout))
    assert len(names) > 9
    assert {name for name in names if f"`{name}" not in told} == set()


@pytest.mark.parametrize("document", documents(), ids=relative)
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    targets = _LINK.findall(document.read_text())
    assert [target for target in targets if not (document.parent / target).exists()] == []


@pytest.mark.parametrize("document", documents(), ids=relative)
def test_every_script_in_a_shell_block_can_be_run(document: Path) -> None:
    programs = {shlex.split(line)[0] for line in shell_lines(document)}
    own = {program for program in programs if program.startswith(("scripts/", ".ci/"))}
    assert {program for program in own if not os.access(ROOT / program, os.X_OK)} == set()


def names_of_tests(folder: str) -> dict[str, set[str]]:
    """The names of the tests in each file."""
    return {
        relative(path): set(_TEST.findall(path.read_text()))
        for path in sorted((ROOT / folder).rglob("test_*.py"))
    }


def test_every_test_that_the_security_page_names_exists() -> None:
    named = set(_NAMED_TEST.findall((ROOT / "docs" / "security.md").read_text()))
    there = set().union(*names_of_tests("tests").values())
    assert len(named) > 200
    assert named - there == set()


def test_the_security_page_names_a_test_of_every_file_of_attacks() -> None:
    named = set(_NAMED_TEST.findall((ROOT / "docs" / "security.md").read_text()))
    unnamed = {name for name, tests in names_of_tests("tests/attacks").items() if not tests & named}
    assert unnamed == set()


def test_the_readme_names_the_demo_and_the_tests() -> None:
    lines = list(shell_lines(ROOT / "README.md"))
    assert lines == ["scripts/demo", "scripts/test"]


def run_in_ci() -> set[str]:
    """Commands of `.ci/run`, two words each at most; a command whose parts are all there is one."""
    lanes: list[str] = re.findall(r"\blane ([^)&\n]+)", (ROOT / ".ci" / "run").read_text())
    parts = {" ".join(part.split()[:2]) for lane in lanes for part in shlex.split(lane)}
    tests: list[str] = re.findall(
        r'^(\w+)\(\) \{ "\$\{pytest', (ROOT / "scripts" / "test").read_text(), re.MULTILINE
    )
    whole = {f"scripts/test {name}" for name in tests}
    return parts | ({"scripts/test"} if len(whole) > 1 and whole <= parts else set())


def test_every_command_of_the_readme_is_run_on_every_change() -> None:
    assert set(shell_lines(ROOT / "README.md")) <= run_in_ci()


def test_decision_records_are_numbered_without_a_gap_and_complete() -> None:
    records = sorted((ROOT / "docs" / "adr").glob("*.md"))
    assert [int(path.name[:4]) for path in records] == list(range(1, len(records) + 1))
    for path in records:
        text = path.read_text()
        assert text.startswith(f"# {int(path.name[:4])}. ")
        assert [part for part in _RECORD_PARTS if part not in text] == [], path.name


def test_the_layout_is_explained_in_twelve_lines() -> None:
    block = (ROOT / "CONTRIBUTING.md").read_text().split("```")[1].strip().splitlines()
    assert len(block) == 12
    folders = {line.split()[0] for line in block}
    assert {name for name in folders if not (ROOT / name).exists()} == set()


def test_the_changelog_begins_with_the_version_that_is_being_made() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0].startswith("Unreleased")


def test_the_table_of_failures_that_stop_a_rollout_is_what_the_gate_does() -> None:
    rows = [
        line
        for line in (ROOT / "docs" / "rollouts.md").read_text().splitlines()
        if line.startswith(("| devices judged", "| failed"))
    ]
    judged, failed = ([cell.strip() for cell in row.split("|")[3:-1]] for row in rows)
    gate = GatePolicy(by_evidence=True)
    for devices, stops in zip(judged, failed, strict=True):
        count = int(stops)
        for lost, verdict in ((count, "fail"), (count - 1, "hold")):
            seen = Seen(3, 0.0, {"": Outcomes(lost, int(devices))})
            found = judge(asked(gate), seen)
            assert ("fail" if found.fails else "hold") == verdict, (devices, lost)
