"""The settings page says whose signature a bundle needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sealane_manager.intake import Intake
from support.dashboard import a_dashboard
from support.signed import ACME, RIVAL, known, public

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Settings = Callable[[Path | None], str]


@pytest.fixture
def settings() -> Iterator[Settings]:
    """The settings page of a manager that was started with a folder of keys."""
    with a_dashboard() as dashboard:
        offices, browser = dashboard.offices, dashboard.browser("ada")

        def page(folder: Path | None) -> str:
            tell = offices.store.decisions.write
            offices.publishing._intake = Intake(folder, offices.blobs, tell, dashboard.clock)
            return browser.get("/settings").text

        yield page


def test_where_nobody_is_demanded_it_says_so(settings: Settings) -> None:
    assert "a bundle comes in whoever made it" in settings(None)


def test_it_names_the_keys_of_every_family(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "vision").mkdir()
    (tmp_path / "acme.pem").write_bytes(public(ACME))
    (tmp_path / "vision" / "rival.pem").write_bytes(public(RIVAL))
    page = settings(tmp_path)
    for word in ("every other", "acme.pem", known(ACME).hint, "vision", known(RIVAL).hint):
        assert word in page


def test_it_says_that_nothing_comes_in_when_a_key_cannot_be_read(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "<b>.pem").write_bytes(b"no key")
    page = settings(tmp_path)
    assert "&lt;b&gt;.pem is no public key in PEM: nothing comes in" in page
    (tmp_path / "<b>.pem").unlink()
    assert "holds no keys of producers: nothing comes in" in settings(tmp_path)
    assert "holds no keys of producers" in settings(tmp_path / "missing")
