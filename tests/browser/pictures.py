"""Keeps a picture of every page of a running dashboard, at three widths, light and dark.

    python tests/browser/pictures.py https://127.0.0.1:8443/ NAME PASSWORD FOLDER

A person looks at them; the demo left running with --keep prints address, name and password.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDTHS = (1440, 1024, 390)
PATHS = {
    "overview": "/",
    "devices": "/devices",
    "sites": "/sites",
    "models": "/models",
    "rollouts": "/rollouts",
    "calendars": "/rollouts/calendars",
    "plan": "/rollouts/new",
    "drift": "/drift",
    "alerts": "/alerts",
    "alerts-history": "/alerts?show=history",
    "alerts-told": "/alerts?show=told",
    "audit": "/audit",
    "settings": "/settings",
    "wall": "/wall",
}
FIRST_DEVICE = "main tbody a"
FIRST_RELEASE = "main tbody a"
LINKS = {
    "device": ("/devices", FIRST_DEVICE),
    "labels": ("/devices", FIRST_DEVICE, "main a[href$='/labels']"),
    "hold": ("/devices", FIRST_DEVICE, "main a[href$='/hold']"),
    "roll-back": ("/devices", FIRST_DEVICE, "main a[href*='/rollback/']"),
    "isolate": ("/devices", FIRST_DEVICE, "main a[href$='/quarantine']"),
    "rollout": ("/rollouts", "main tbody tr:first-child a"),
    "rollout-first": ("/rollouts", "main tbody tr:last-child a"),
    "release": ("/models", FIRST_RELEASE),
    "quarantine": ("/models", FIRST_RELEASE, "main a[href$='/quarantine']"),
    "plan-release": ("/models", FIRST_RELEASE, "main a[href^='/rollouts/new']"),
    "drift-input": ("/drift", "main tbody a[href^='/drift/input']"),
    "acknowledge": ("/alerts", "main a[href^='/alerts/acknowledge']"),
    "silence": ("/alerts", "main a[href^='/alerts/silence']"),
}
"""Where to begin, and the links to follow from there."""


def log_in(page: Page, address: str, name: str, password: str) -> None:
    """Through the form, as a person would."""
    page.goto(address)
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_selector("nav[aria-label=Main]")


def follow(page: Page, address: str, where: str, links: tuple[str, ...]) -> str | None:
    """The path behind links that lead to each other; None where one is missing."""
    for link in links:
        page.goto(address + where)
        found = page.locator(link).first
        path = found.get_attribute("href") if found.count() else None
        if path is None:
            return None
        where = path
    return where


def places(page: Page, address: str) -> Iterator[tuple[str, str]]:
    """Every page with its address, those behind links too."""
    yield from PATHS.items()
    for name, (where, *links) in LINKS.items():
        if path := follow(page, address, where, tuple(links)):
            yield name, path


def unfold(page: Page) -> None:
    """Open what a form hides until it is asked for."""
    page.locator("main form details").evaluate_all("all => all.forEach(one => { one.open = true })")


def keep(browser: Browser, arguments: argparse.Namespace) -> None:
    """One picture for each page, width and theme."""
    for theme in ("light", "dark"):
        context = browser.new_context(ignore_https_errors=True, color_scheme=theme)
        page = context.new_page()
        address = arguments.address.rstrip("/")
        log_in(page, address, arguments.name, arguments.password)
        for name, path in list(places(page, address)):
            for width in arguments.widths:
                page.set_viewport_size({"width": width, "height": 900})
                page.goto(address + path)
                unfold(page)
                page.wait_for_timeout(400)
                page.screenshot(
                    path=arguments.folder / f"{name}-{width}-{theme}.png", full_page=True
                )
        context.close()


def main() -> None:
    """Keep the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("name")
    parser.add_argument("password")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--widths", type=int, nargs="*", default=WIDTHS)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        keep(browser, arguments)
        browser.close()


if __name__ == "__main__":
    main()
