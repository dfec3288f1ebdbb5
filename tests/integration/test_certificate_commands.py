"""The commands for operators' certificates, on a running manager."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from sealane_manager.cli.main import app
from sealane_manager.client import Operator
from sealane_manager.errors import NotAllowed
from support.callers import certified, sealane
from support.manager import running_manager
from typer.testing import CliRunner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.manager import RunningManager


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningManager]:
    with running_manager(tmp_path_factory.mktemp("manager")) as running:
        yield running


def test_a_key_that_stays_where_it_was_made_is_certified(
    manager: RunningManager, tmp_path: Path
) -> None:
    there, carried, asked = tmp_path / "there", tmp_path / "carried", tmp_path / "ada.csr"
    done = CliRunner().invoke(app, ["operator", "request", str(there)])
    asked.write_text(done.output)
    words = ("operator", "issue", "ada", str(carried), "--role", "viewer", "--request", str(asked))
    sealane(manager, *words)
    assert not (carried / "operator.key").exists()
    for file in carried.iterdir():
        file.rename(there / file.name)
    with Operator(there) as operator:
        assert operator.list_releases() == ()


def test_a_certificate_is_renewed_for_the_same_key(manager: RunningManager, tmp_path: Path) -> None:
    context, asked = certified(manager, tmp_path / "rena", "viewer"), tmp_path / "rena.csr"
    asked.write_text(CliRunner().invoke(app, ["operator", "request", str(context)]).output)
    sealane(manager, "operator", "issue", "rena", str(context), "--request", str(asked))
    with Operator(context) as operator:
        operator.list_releases()
    assert len([each for each in listed(manager) if each["name"] == "rena"]) == 1


def test_the_list_says_who_may_what_and_which_are_revoked(
    manager: RunningManager, tmp_path: Path
) -> None:
    context = certified(manager, tmp_path / "bob", "operator", "berlin", "paris")
    (bob,) = [each for each in listed(manager) if each["name"] == "bob"]
    assert (bob["role"], bob["sites"], bob["state"]) == ("operator", "berlin,paris", "counts")
    (first,) = [each for each in listed(manager) if each["name"] == "admin"]
    assert (first["role"], first["state"]) == ("admin", "counts")
    sealane(manager, "operator", "revoke", "bob")
    (bob,) = [each for each in listed(manager) if each["name"] == "bob"]
    assert bob["state"] == "revoked"
    with Operator(context) as operator, pytest.raises(NotAllowed, match="was revoked"):
        operator.list_releases()


def test_nothing_is_written_over_a_key(manager: RunningManager, tmp_path: Path) -> None:
    context = certified(manager, tmp_path / "kay", "viewer")
    words = ["operator", "issue", "kay", str(context), "--state", str(manager.state.root)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 3
    assert "holds a key already" in done.output


@pytest.mark.parametrize("content", ["", "-----BEGIN CERTIFICATE REQUEST-----\n", "x" * 100_000])
def test_what_is_no_request_is_refused(
    manager: RunningManager, tmp_path: Path, content: str
) -> None:
    asked = tmp_path / "asked"
    asked.write_text(content)
    words = ["operator", "issue", "eve", str(tmp_path / "eve"), "--role", "viewer"]
    words += ["--request", str(asked), "--state", str(manager.state.root)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 3
    assert "is no request" in done.output


def listed(manager: RunningManager) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(sealane(manager, "operator", "list", "-o", "json"))
    return found


def test_whoever_revokes_the_last_administrator_is_told_how_to_come_back(tmp_path: Path) -> None:
    with running_manager(tmp_path) as alone:
        words = ["operator", "revoke", "admin", "--state", str(alone.state.root)]
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0
        assert "sealane operator issue NAME FOLDER --role admin" in done.output
        context = certified(alone, tmp_path / "again", "admin")
        with Operator(context) as operator:
            assert operator.list_releases() == ()
