"""What operators do on the dashboard, in a real browser before a real manager."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from browser.conftest import Site
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]

PATIENCE_MS = 60_000


def confirm(page: Page, button: str, reason: str, typed: str = "") -> None:
    """Open the dialog of an action, say why, and do it."""
    page.get_by_role("link", name=f"{button}…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Why").fill(reason)
    if typed:
        dialog.get_by_label(f"Type {typed} to confirm").fill(typed)
    dialog.get_by_role("button", name=button).click()


def test_a_wrong_password_stays_outside(stranger: Page, complaints: list[str]) -> None:
    stranger.goto("/devices")
    stranger.get_by_label("Name").fill("ada")
    stranger.get_by_label("Password").fill("not the password")
    stranger.get_by_role("button", name="Log in").click()
    expect(stranger.get_by_role("alert")).to_contain_text("the name or the password is wrong")
    assert all("403" in complaint for complaint in complaints)
    complaints.clear()


def test_a_device_is_found_by_key_filter_and_the_way_back(page: Page) -> None:
    page.get_by_role("link", name="Devices", exact=True).click()
    rows = page.locator("#results tbody tr")
    expect(rows).to_have_count(3)
    page.wait_for_load_state("load")
    page.keyboard.press("/")
    page.keyboard.type("paris")
    expect(rows).to_have_count(1)
    expect(page).to_have_url(re.compile(r"/devices\?q=paris$"))
    page.get_by_role("link", name="box-3").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("box-3")
    expect(page.locator("main")).to_contain_text("digits/classifier@1")
    page.go_back()
    expect(page.get_by_label("Name or site")).to_have_value("paris")
    expect(rows).to_have_count(1)
    page.go_back()
    expect(rows).to_have_count(3)


def test_a_filter_keeps_the_order_and_the_address_can_be_shared(page: Page) -> None:
    page.goto("/devices?sort=-name")
    page.get_by_label("Site", exact=True).select_option("berlin")
    expect(page.locator("#results tbody tr")).to_have_count(2)
    expect(page).to_have_url(re.compile("sort=-name"))
    expect(page).to_have_url(re.compile("site=berlin"))
    expect(page.locator("#results tbody tr").first).to_contain_text("box-2")
    page.reload()
    expect(page.locator("#results tbody tr").first).to_contain_text("box-2")
    expect(page.get_by_label("Site", exact=True)).to_have_value("berlin")


def test_the_theme_changes_and_stays(page: Page) -> None:
    body = page.locator("body")
    light, dark = "rgb(245, 246, 248)", "rgb(13, 17, 23)"
    expect(body).to_have_css("background-color", light)
    page.get_by_role("button", name="Dark").click()
    expect(body).to_have_css("background-color", dark)
    page.goto("/devices")
    expect(body).to_have_css("background-color", dark)
    page.get_by_role("button", name="Light").click()
    expect(body).to_have_css("background-color", light)


def test_a_rollout_is_planned_followed_live_paused_promoted_and_aborted(
    page: Page, site: Site
) -> None:
    page.goto("/rollouts/new")
    page.get_by_label("Release").select_option("digits/classifier@2")
    page.get_by_label("Slot").fill("digits")
    page.get_by_label("Stages").fill("1, 100%")
    page.get_by_label("Soak").fill("1h")
    page.get_by_role("button", name="Preview the plan").click()
    expect(page.locator(".planned li")).to_have_count(2)
    expect(page.locator(".planned li").first).to_contain_text("1 device join")
    page.get_by_label("Why").fill("a better model")
    page.get_by_role("button", name="Start rollout").click()

    expect(page).to_have_url(re.compile(r"/rollouts/r-[0-9a-f]{8}$"))
    rollout = page.url.rpartition("/")[2]
    page.evaluate("window.neverLoadedAgain = true")
    steps = page.locator(".step")
    expect(steps.first).to_contain_text("soak", timeout=PATIENCE_MS)
    expect(page.get_by_role("link", name="1 serving")).to_be_visible()
    assert page.evaluate("window.neverLoadedAgain"), "it changed by loading the page again"

    state = page.locator(".lead .pill").first
    confirm(page, "Pause", "shift change")
    expect(state).to_have_text("paused")
    expect(page.locator(".why")).to_contain_text("pause by ada: shift change")
    confirm(page, "Resume", "the line is quiet")
    expect(state).to_have_text("running")
    confirm(page, "Promote", "looks good")
    expect(page.get_by_role("link", name="3 serving")).to_be_visible(timeout=PATIENCE_MS)
    confirm(page, "Abort", "enough seen", typed=rollout)
    expect(state).to_have_text("aborted", timeout=PATIENCE_MS)
    assert site.plant.rollout(rollout)["state"] == "aborted"
    page.goto(f"/audit?rollout={rollout}")
    for word in ("shift change", "looks good", "enough seen", "a better model"):
        expect(page.locator("main")).to_contain_text(word)


def test_a_plan_in_conflict_is_refused_before_anything_starts(page: Page, site: Site) -> None:
    rollout = site.plant.start_rollout(1, "1,100%", "--soak", "3600s")
    page.goto("/rollouts/new?release=digits/classifier@2&slot=digits&preview=yes")
    expect(page.get_by_role("alert")).to_contain_text(f"rollout {rollout} is still changing")
    page.goto(f"/rollouts/{rollout}")
    confirm(page, "Revert", "make room", typed=rollout)
    expect(page.locator(".lead .pill").first).to_have_text("reverted", timeout=PATIENCE_MS)


def test_labels_are_changed_with_a_reason(page: Page) -> None:
    page.goto("/devices/box-2")
    page.get_by_role("link", name="Labels…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("One key=value a line").fill("site=berlin\nline=7")
    dialog.get_by_label("Why").fill("moved to line 7")
    dialog.get_by_role("button", name="Save labels").click()
    expect(page.locator(".facts").first).to_contain_text("line")
    page.goto("/sites?by=line")
    expect(page.locator("main")).to_contain_text("without this label")


def test_everything_is_readable_and_done_without_scripts(browser: Browser, site: Site) -> None:
    context = browser.new_context(
        ignore_https_errors=True, base_url=site.address, java_script_enabled=False
    )
    page = context.new_page()
    page.goto("/devices?site=paris")
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill(site.password)
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_label("Site", exact=True).select_option("berlin")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("tbody tr")).to_have_count(2)
    page.get_by_role("link", name="box-1").click()
    page.get_by_role("link", name="Labels…").click()
    page.get_by_label("Why").fill("nothing changes")
    page.get_by_role("button", name="Save labels").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("box-1")
    context.close()
