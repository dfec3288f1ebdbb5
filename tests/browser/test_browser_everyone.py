"""Everybody can use every page: no finding of axe, nothing wider than a telephone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import pytest
from browser.pictures import PATHS, log_in, places
from playwright.sync_api import expect

if TYPE_CHECKING:
    from browser.conftest import Site
    from playwright.sync_api import Browser, Page

    Theme = Literal["light", "dark"]

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]

AXE = (
    Path(__file__).resolve().parents[2]
    / "manager/sealane_manager/dashboard/assets/node_modules/axe-core/axe.min.js"
)
WIDTHS: Final = (390, 768, 1024)
"""A telephone, a tablet, a small screen of a computer."""

THEMES: Final[tuple[Theme, ...]] = ("light", "dark")

PALE: Final = """(colour) => {
  document.body.innerHTML = "<main><h1>Colours</h1><p>pale</p></main>";
  document.querySelector("p").style.color = colour;
}"""

REDRAWN = "new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))"
"""Charts are drawn again in the frame after their width has changed."""

TOO_WIDE = """
[...document.querySelectorAll("body *")].filter(
  (each) => each.getBoundingClientRect().right > window.innerWidth + 1
).map((each) => each.outerHTML.slice(0, 200)).slice(-4)
"""
"""What reaches beyond the screen, the innermost last."""


@pytest.fixture(scope="module")
def paths(browser: Browser, site: Site) -> dict[str, str]:
    """Every page that Ada can open, by its name."""
    context = browser.new_context(ignore_https_errors=True, base_url=site.address)
    page = context.new_page()
    log_in(page, site.address, "ada", site.password)
    found = dict(places(page, site.address))
    context.close()
    assert found.keys() > PATHS.keys()
    return found


def findings(page: Page) -> list[str]:
    """What axe finds on the page as it stands, in each theme."""
    page.evaluate(AXE.read_text())
    return [complaint for theme in THEMES for complaint in findings_in(page, theme)]


def findings_in(page: Page, theme: Theme) -> list[str]:
    # Colours that go over into others are looked at when they are there.
    page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    page.evaluate(REDRAWN)
    found: dict[str, Any] = page.evaluate("axe.run()")
    return [
        f"{page.url}, {theme}: {each['id']}: {node['html'][:160]}"
        for each in found["violations"]
        for node in each["nodes"]
    ]


def test_axe_finds_nothing_in_either_theme(page: Page, paths: dict[str, str]) -> None:
    complaints = []
    for path in paths.values():
        page.goto(path)
        page.wait_for_load_state("load")
        complaints += findings(page)
    assert complaints == []


def test_axe_finds_nothing_at_the_door(stranger: Page) -> None:
    stranger.goto("/login")
    assert findings(stranger) == []


def test_axe_sees_the_theme(stranger: Page) -> None:
    """What is too pale on white alone, and too dark on black alone."""
    page = stranger
    page.goto("/login")
    page.evaluate(AXE.read_text())
    for theme, colour in (("light", "#bbbbbb"), ("dark", "#444444")):
        page.evaluate(PALE, colour)
        found = {one: bool(findings_in(page, one)) for one in THEMES}
        assert found == {one: one == theme for one in THEMES}


def test_no_page_is_wider_than_any_screen(page: Page, paths: dict[str, str]) -> None:
    wide = []
    for name, path in paths.items():
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
