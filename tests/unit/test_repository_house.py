"""The house rules that no linter knows."""

from __future__ import annotations

import ast
import re
import subprocess
from typing import TYPE_CHECKING

import pytest
from support.repository import (
    CODE_FOLDERS,
    DISTRIBUTIONS,
    ROOT,
    documents,
    relative,
    scripts,
    sources,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MAX_FILE_LINES = 500
_MAX_FUNCTION_LINES = 60
_EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}
_SILENCED = re.compile(r"#\s*(?:noqa|type:\s*ignore)")
_SILENCED_WITH_REASON = re.compile(
    r"#\s*noqa: [A-Z0-9, ]+ - \S|#\s*type: ignore\[[a-z-, ]+\]\s+# \S"
)
_MACHINE_PATH = re.compile(r"(?<![\w.])/(?:root|home/\w+|Users/\w+)/")
_UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX)\b")
_THIS_FILE = "tests/unit/test_repository_house.py"


def hand_written() -> Iterator[Path]:
    yield from sources(*CODE_FOLDERS)
    yield from scripts()
    yield from documents()


def lines_matching(pattern: re.Pattern[str], paths: Iterator[Path]) -> list[str]:
    return [
        f"{relative(path)}:{number}"
        for path in paths
        if relative(path) != _THIS_FILE
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_no_file_is_longer_than_a_reader_bears() -> None:
    long = {
        relative(path): count
        for path in sources(*CODE_FOLDERS)
        if (count := len(path.read_text().splitlines())) > _MAX_FILE_LINES
    }
    assert long == {}


def test_no_function_is_longer_than_a_screen() -> None:
    long = [
        f"{relative(path)}:{node.lineno} {node.name}"
        for path in sources(*CODE_FOLDERS)
        if "/migrations/"
        not in relative(path)  # a migration lists every column and is never read twice
        for node in functions(path)
        if (node.end_lineno or node.lineno) - node.lineno >= _MAX_FUNCTION_LINES
    ]
    assert long == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    empty = [
        relative(path)
        for path in sources(*CODE_FOLDERS)
        if {path.stem, path.parent.name} & _EMPTY_NAMES
    ]
    assert empty == []


def test_every_module_says_what_it_decides_or_does() -> None:
    silent = [
        relative(path)
        for path in sources(*DISTRIBUTIONS)
        if (content := path.read_bytes()).strip() and not ast.get_docstring(ast.parse(content))
    ]
    assert silent == []


def test_every_silenced_finding_has_its_reason_beside_it() -> None:
    bare = [
        f"{relative(path)}:{number}"
        for path in sources(*CODE_FOLDERS)
        if relative(path) != _THIS_FILE
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if _SILENCED.search(line) and not _SILENCED_WITH_REASON.search(line)
    ]
    assert bare == []


def test_nothing_names_a_folder_of_somebodys_machine() -> None:
    assert lines_matching(_MACHINE_PATH, hand_written()) == []


def test_nothing_is_left_for_later() -> None:
    assert lines_matching(_UNFINISHED, hand_written()) == []


def test_test_files_have_names_of_their_own() -> None:
    names = [path.name for path in sources("tests") if path.name.startswith("test_")]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("script", scripts(), ids=relative)
def test_every_script_says_what_it_does_and_bash_can_read_it(script: Path) -> None:
    first, second = script.read_text().splitlines()[:2]
    assert first == "#!/usr/bin/env bash"
    assert second.startswith("# ")
    assert script.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", str(script)], check=True)  # noqa: S607 - bash as the scripts find it


def test_the_licence_is_the_one_that_every_distribution_names() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    for distribution in DISTRIBUTIONS:
        assert 'license = "Apache-2.0"' in (ROOT / distribution / "pyproject.toml").read_text()
