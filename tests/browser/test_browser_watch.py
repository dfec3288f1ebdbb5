"""What operators see go wrong, and what they do about it, before a real manager."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from browser.conftest import TAMPERED
from browser.test_browser_story import PATIENCE_MS, confirm
from playwright.sync_api import expect

if TYPE_CHECKING:
    from browser.conftest import Site
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]


def test_an_alert_comes_live_is_acknowledged_and_silenced(page: Page, site: Site) -> None:
    page.goto("/alerts")
    page.evaluate("window.neverLoadedAgain = true")
    rollout = site.plant.start_rollout(TAMPERED, "1", "--soak", "0s")
    row = page.locator(".site-alerts tbody tr").filter(has_text="Hash mismatch")
    expect(row).to_be_visible(timeout=PATIENCE_MS)
    assert page.evaluate("window.neverLoadedAgain"), "it came by loading the page again"
    assert site.plant.wait_ended(rollout)["state"] == "reverted"

    row.get_by_role("link", name="Acknowledge…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Why").fill("the store is being looked at")
    dialog.get_by_role("button", name="Acknowledge").click()
    expect(row).to_contain_text("acknowledged")
    expect(row).to_contain_text("by ada")

    row.get_by_role("link", name="Silence…").click()
    dialog.get_by_label("For").select_option("4h")
    dialog.get_by_label("Why").fill("until the disk is changed")
    dialog.get_by_role("button", name="Silence").click()
    expect(row).to_contain_text(re.compile("silenced until .* UTC by ada"))
    confirm(page, "End", "the disk was changed")
    expect(row).not_to_contain_text("silenced until")

    page.goto("/audit")
    for word in ("the store is being looked at", "until the disk is changed"):
        expect(page.locator("main")).to_contain_text(word)
    page.goto(f"/rollouts/{rollout}")
    expect(page.locator(".lead .pill").first).to_have_text("reverted")
    expect(page.locator(".why")).to_contain_text("the blob's bytes do not match its digest")


def wait_for_telemetry(page: Page, site: Site) -> None:
    """Until the first windows have closed and arrived."""
    for _ in range(40):
        page.goto(f"{site.address}/devices/box-1")
        if page.locator("figure[data-chart]").count():
            return
        page.wait_for_timeout(3000)
    pytest.fail("no telemetry arrived")


def test_charts_are_drawn_from_their_tables(page: Page, site: Site) -> None:
    wait_for_telemetry(page, site)
    plots = page.locator(".charts .uplot canvas")
    expect(plots).to_have_count(3)
    table = page.get_by_role("group", name="Latency as a table")
    expect(table).to_be_hidden()
    page.locator("figure[data-chart=latency] summary").click()
    expect(table).to_contain_text("digits/classifier")
    page.get_by_role("group", name="Time shown").get_by_role("link", name="24h").click()
    expect(page).to_have_url(re.compile(r"/devices/box-1\?span=24h$"))
    expect(plots).to_have_count(3)
    page.go_back()
    expect(page).to_have_url(re.compile(r"/devices/box-1$"))


def test_charts_are_tables_without_scripts(page: Page, site: Site, browser: Browser) -> None:
    wait_for_telemetry(page, site)
    context = browser.new_context(
        ignore_https_errors=True,
        base_url=site.address,
        java_script_enabled=False,
        storage_state=page.context.storage_state(),
    )
    plain = context.new_page()
    plain.goto("/devices/box-1")
    expect(plain.get_by_role("group", name="Requests as a table")).to_be_visible()
    cells = plain.locator("figure[data-chart=requests] tbody td.number")
    assert any(float(text) > 0 for text in cells.all_inner_texts() if text)
    context.close()


def test_drift_is_shown_by_input_and_by_device(page: Page, site: Site) -> None:
    wait_for_telemetry(page, site)
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Data & drift").click()
    page.locator("main tbody a[href^='/drift/input']").first.click()
    expect(page.locator(".histogram").first).to_be_visible()
    page.get_by_text("As a table").first.click()
    expect(page.get_by_role("group", name=re.compile("as a table")).first).to_be_visible()


def test_a_device_is_put_into_quarantine_and_readmitted(page: Page) -> None:
    page.goto("/devices/box-2")
    confirm(page, "Quarantine", "a strange log-in")
    expect(page.get_by_role("status")).to_contain_text("It is in quarantine: a strange log-in")
    confirm(page, "Readmit", "it was the night shift")
    expect(page.get_by_role("status")).to_have_count(0)
    expect(page.get_by_role("link", name="Quarantine…")).to_be_visible()
