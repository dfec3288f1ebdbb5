"""A real manager with real devices, and the distribution's Chromium before its dashboard.

Without a Chromium these tests are left out, and said to be; SEALANE_BROWSER=required makes that
an error, as continuous integration does.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser.pictures import CHROMIUM, FLAGS, log_in
from demo_story.models import make_models
from playwright.sync_api import sync_playwright
from support.story_plant import StoryPlant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from demo_story.plant import Plant
    from playwright.sync_api import Browser, ConsoleMessage, Page, Request

TAMPERED = 4
"""The release whose stored bytes are not those that were signed."""

SITES = {"box-1": "berlin", "box-2": "berlin", "box-3": "paris"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if Path(CHROMIUM).exists() or os.environ.get("SEALANE_BROWSER") == "required":
        return
    here = Path(__file__).parent
    missing = pytest.mark.skip(reason=f"{CHROMIUM} is not installed: apt-get install chromium")
    for item in items:
        if here in item.path.parents:
            item.add_marker(missing)


class Site:
    """The plant, and who may log in on its dashboard."""

    def __init__(self, plant: Plant) -> None:
        self.plant = plant
        self.address = plant.dashboard.rstrip("/")
        self.password = plant.add_user("ada", "admin")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Three devices that serve release 1 under requests; 2 is good, and 4 was tampered with."""
    models = make_models(tmp_path_factory.mktemp("models"))
    plant = StoryPlant(tmp_path_factory.mktemp("plant"))
    try:
        plant.init()
        plant.start_manager()
        plant.processes.sealane(
            *("calendar", "set", "berlin", "--selector", "site=berlin"),
            *("--hours", "mon-fri 22:00-05:00", "--zone", "Europe/Berlin", "--holiday", "12-25"),
        )
        for version in (1, 2, TAMPERED):
            release = models.releases[version]
            layout = plant.pack(release.onnx, release.data, "--probation-seconds", "1")
            plant.publish(layout, version)
        plant.tamper(layout)
        for device, name in SITES.items():
            plant.enrol(device, f"site={name}")
            plant.start_agent(device)
        plant.wait_connected(len(SITES))
        plant.wait_ended(plant.start_rollout(1, "100%", "--soak", "0s"))
        plant.start_traffic(models.traffic, SITES, pause_ms=100)
        yield Site(plant)
    finally:
        plant.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the browser complains about, and requests to other hosts; must stay empty."""
    return []


@pytest.fixture
def stranger(browser: Browser, site: Site, complaints: list[str]) -> Iterator[Page]:
    """A page of somebody who has not logged in; a complaint of the browser fails the test."""

    def heard(message: ConsoleMessage) -> None:
        if message.type == "error":
            complaints.append(message.text)

    def asked(request: Request) -> None:
        if not request.url.startswith((site.address, "data:")):
            complaints.append(f"asked {request.url}")

    context = browser.new_context(ignore_https_errors=True, base_url=site.address)
    page = context.new_page()
    page.on("console", heard)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    context.on("request", asked)
    yield page
    context.close()
    assert complaints == []


@pytest.fixture
def page(stranger: Page, site: Site) -> Page:
    """A page of Ada, the admin."""
    log_in(stranger, site.address, "ada", site.password)
    return stranger
