"""sealane init and sealane trust, as people type them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from sealane_manager.cli import init, trust
from typer.testing import CliRunner, Result

app = typer.Typer()
app.command("init")(init.command)
app.add_typer(trust.app, name="trust")


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def state(tmp_path: Path) -> str:
    state = str(tmp_path / "state")
    result = _run("init", state, "--fleet", "acme", "--host", "localhost", "--family", "digits")
    assert result.exit_code == 0
    return state


def test_init_prints_fingerprints_and_warns_loudly(tmp_path: Path) -> None:
    result = _run("init", str(tmp_path / "s"), "--fleet", "acme", "--host", "localhost")
    assert "DEVELOPMENT MODE" in result.stderr
    assert "root.json       sha256:" in result.stdout
    assert "CA certificate  sha256:" in result.stdout
    assert "key director" in result.stdout


def test_init_refuses_to_overwrite_with_its_own_exit_code(state: str) -> None:
    result = _run("init", state, "--fleet", "acme", "--host", "localhost")
    assert result.exit_code == 3
    assert "not empty" in result.stderr


def test_init_without_a_host_is_a_usage_error(tmp_path: Path) -> None:
    assert _run("init", str(tmp_path / "s"), "--fleet", "acme").exit_code == 2


def test_show_lists_every_role_and_repeats_the_warning(state: str) -> None:
    result = _run("trust", "show", "--state", state)
    assert result.exit_code == 0
    for word in ("root", "targets", "snapshot", "timestamp", "director", "digits"):
        assert word in result.stdout
    assert "development mode" in result.stderr


def test_show_as_json_has_whole_keys_and_times(state: str) -> None:
    roles = json.loads(_run("trust", "show", "--state", state, "-o", "json").stdout)
    by_name = {role["role"]: role for role in roles}
    assert len(by_name["root"]["keys"][0]) == 64
    assert by_name["director"]["expires"] is None
    assert by_name["digits"]["version"] == 1


def test_show_without_a_fleet_says_how_to_make_one(tmp_path: Path) -> None:
    result = _run("trust", "show", "--state", str(tmp_path))
    assert result.exit_code == 1
    assert "sealane init" in result.stderr


def test_a_family_is_added_and_then_shown(state: str) -> None:
    assert _run("trust", "add-family", "vision", "--state", state).exit_code == 0
    assert "vision/*" in _run("trust", "show", "--state", state, "-o", "json").stdout
    again = _run("trust", "add-family", "vision", "--state", state)
    assert again.exit_code == 3
    assert "exists already" in again.stderr


def test_init_where_a_fleet_is_does_nothing_when_that_is_what_was_asked(state: str) -> None:
    before = {path: path.stat().st_mtime_ns for path in Path(state).rglob("*")}
    again = _run("init", state, "--fleet", "other", "--host", "localhost", "--if-needed")
    assert (again.exit_code, again.stdout) == (0, f"{state} holds a fleet already\n")
    assert {path: path.stat().st_mtime_ns for path in Path(state).rglob("*")} == before
