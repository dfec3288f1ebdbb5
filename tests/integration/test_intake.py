"""A manager that takes only bundles that a producer signed whom it was told of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sealane.bundle.layout import read_layout
from sealane_manager.app import ManagerSettings
from sealane_manager.errors import Refused
from sealane_manager.store.summaries import AuditFilter, AuditLine
from support.bundles import tiny_bundle
from support.manager import RunningManager, make_state, managing
from support.signed import ACME, RIVAL, known, public, signed_bundle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def producers(tmp_path: Path) -> Path:
    """The keys of who may sign: acme, for every family."""
    folder = tmp_path / "producers"
    folder.mkdir()
    (folder / "acme.pem").write_bytes(public(ACME))
    return folder


@pytest.fixture
def manager(tmp_path: Path, producers: Path) -> Iterator[RunningManager]:
    settings = ManagerSettings(
        make_state(tmp_path),
        fleet_port=0,
        enrol_port=0,
        operator_port=0,
        dashboard_port=0,
        producers=producers,
    )
    with managing(settings) as running:
        yield running


def refused(manager: RunningManager, layout: Path, says: str, version: int = 1) -> None:
    """The bundle does not come in, its author is told why, and so is whoever reads the log."""
    with pytest.raises(Refused, match=says) as caught:
        manager.publish_layout(layout, version)
    assert len(str(caught.value).splitlines()) == 1
    with manager.operator() as operator:
        assert operator.list_releases() == ()
    (line,) = logged(manager, "refuse")
    assert line.evidence == read_layout(layout).digest.removeprefix("sha256:")


def test_a_bundle_that_its_producer_signed_comes_in_and_the_log_says_by_whom(
    manager: RunningManager, tmp_path: Path
) -> None:
    manager.publish_layout(signed_bundle(tmp_path / "signed"), 1)
    (line,) = logged(manager, "accept")
    assert line.detail == f"demo/tiny@1: signed by acme.pem, key {known(ACME).hint}"
    assert logged(manager, "refuse") == []


def test_a_bundle_that_nobody_signed_stays_outside(manager: RunningManager, tmp_path: Path) -> None:
    refused(manager, tiny_bundle(tmp_path / "bundle"), r"no model\.sig, and one by acme\.pem")


def test_a_bundle_that_somebody_else_signed_stays_outside(
    manager: RunningManager, tmp_path: Path
) -> None:
    refused(manager, signed_bundle(tmp_path / "b", RIVAL), r"was not made by acme\.pem")


def test_a_family_with_keys_of_its_own_takes_no_others(
    manager: RunningManager, producers: Path, tmp_path: Path
) -> None:
    (producers / "demo").mkdir()
    (producers / "demo" / "rival.pem").write_bytes(public(RIVAL))
    refused(manager, signed_bundle(tmp_path / "acme"), r"was not made by rival\.pem")
    manager.publish_layout(signed_bundle(tmp_path / "rival", RIVAL, 2), 2)


@pytest.mark.parametrize("content", [None, b"no key", public(ACME)[:60]])
def test_keys_that_are_gone_or_damaged_let_nothing_in(
    content: bytes | None, manager: RunningManager, producers: Path, tmp_path: Path
) -> None:
    if content is None:
        (producers / "acme.pem").unlink()
    else:
        (producers / "acme.pem").write_bytes(content)
    refused(manager, signed_bundle(tmp_path / "signed"), "comes from no producer")


def test_a_key_that_is_a_broken_link_lets_nothing_in_and_says_where_to_look(
    manager: RunningManager, producers: Path, tmp_path: Path
) -> None:
    (producers / "other.pem").symlink_to(tmp_path / "nothing.pem")
    refused(manager, signed_bundle(tmp_path / "signed"), "keys of producers cannot be read")


def logged(manager: RunningManager, action: str) -> list[AuditLine]:
    """Lines of the audit log with this action."""
    with manager.operator() as operator:
        return [*operator.audit.lines(AuditFilter(action=action))]
