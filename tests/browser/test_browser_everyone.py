"""Everybody can use every page: no finding of axe, nothing wider than a telephone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from browser.pictures import places
from playwright.sync_api import expect

if TYPE_CHECKING:
    from browser.conftest import Site
    from playwright.sync_api import Page

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]

AXE = (
    Path(__file__).resolve().parents[2]
    / "manager/sealane_manager/dashboard/assets/node_modules/axe-core/axe.min.js"
)
WIDTHS: Final = (390, 768, 1024)
"""A telephone, a tablet, a small screen of a computer."""

REDRAWN = "new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))"
"""Charts are drawn again in the frame after their width has changed."""

TOO_WIDE = """
[...document.querySelectorAll("body *")].filter(
  (each) => each.getBoundingClientRect().right > window.innerWidth + 1
).map((each) => each.outerHTML.slice(0, 200)).slice(-4)
"""
"""What reaches beyond the screen, the innermost last."""


def findings(page: Page) -> list[str]:
    """What axe finds on the page as it stands."""
    page.evaluate(AXE.read_text())
    found: dict[str, Any] = page.evaluate("axe.run()")
    return [
        f"{page.url}: {each['id']}: {node['html'][:160]}"
        for each in found["violations"]
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(page: Page, site: Site, theme: Any) -> None:
    page.emulate_media(color_scheme=theme)
    complaints = []
    for _name, path in list(places(page, site.address)):
        page.goto(path)
        page.wait_for_load_state("load")
        complaints += findings(page)
    assert complaints == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_at_the_door(stranger: Page, theme: Any) -> None:
    stranger.emulate_media(color_scheme=theme)
    stranger.goto("/login")
    assert findings(stranger) == []


def test_no_page_is_wider_than_any_screen(page: Page, site: Site) -> None:
    wide = []
    for name, path in list(places(page, site.address)):
        page.goto(path)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            page.evaluate(REDRAWN)
            if page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
                wide.append(f"{name} at {width}: {page.evaluate(TOO_WIDE)}")
    assert wide == []


def test_the_keyboard_reaches_the_content_first(page: Page) -> None:
    page.goto("/devices")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
