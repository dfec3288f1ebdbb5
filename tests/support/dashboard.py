"""A dashboard without sockets: the real pages over a real store, asked through a test client."""

from __future__ import annotations

import atexit
import re
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import TYPE_CHECKING

from argon2 import PasswordHasher
from sealane.names import DeviceId
from sealane_manager.alarms import Alarms
from sealane_manager.dashboard.offices import Offices
from sealane_manager.dashboard.web import Web
from sealane_manager.drift.watch import Drifting
from sealane_manager.identity.enrolment import Enrolment
from sealane_manager.layout import StateFolder
from sealane_manager.members import Members
from sealane_manager.parts import ManagerSettings, build
from sealane_manager.people.access import Grant, Role
from sealane_manager.people.accounts import Accounts
from sealane_manager.rollouts import Rollouts
from sealane_manager.trust.ceremony import init_development
from starlette.testclient import TestClient
from support.rollouts import MANIFEST, NEW, OLD, OLD_MANIFEST, START, FakeClock
from support.stores import a_new_store, in_memory, nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from httpx2 import Response
    from sealane.names import Digest, ReleaseName
    from sealane_manager.drift.watch import Scales
    from sealane_manager.sessions import Ending
    from sealane_manager.store.store import Store

ADDRESS = "https://manager.example"
PASSWORD = "a long enough password"  # noqa: S105 - of users that live for one test
SLOTS = ("cam", "side")
WEAK_HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
_CSRF = re.compile(r'name="csrf" value="([^"]+)"')


@dataclass(frozen=True)
class Listed:
    """A release as the controller sees it."""

    name: ReleaseName
    manifest: Digest
    length: int
    slots: tuple[str, ...]


class Line:
    """A session that only exists."""

    def changed(self, generation: int) -> None:
        """Hear nothing."""

    def hang_up(self, ending: Ending) -> None:
        """Stay."""


@dataclass
class Dashboard:
    """The pages, and what is behind them."""

    offices: Offices
    web: Web
    clock: FakeClock

    @property
    def store(self) -> Store:
        return self.offices.store

    def connect(self, *devices: str) -> None:
        """These devices hold a session from now on."""
        for device in devices:
            self.offices.members.sessions.opened(DeviceId(device), Line())

    def browser(self, user: str = "", role: Role = Role.ADMIN, *sites: str) -> Browser:
        """A browser; logged in when a user is named."""
        browser = Browser(TestClient(self.web.app, base_url=ADDRESS, follow_redirects=False))
        if user:
            self.offices.accounts.add_user(user, Grant(role, frozenset(sites)), PASSWORD, "test")
            assert browser.log_in(user, PASSWORD).status_code == 303
        return browser


class Browser:
    """Asks for pages and sends their forms."""

    def __init__(self, client: TestClient) -> None:
        self.client = client

    def get(self, path: str, **headers: str) -> Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.get(path, headers=named)

    def text(self, path: str) -> str:
        """A page that must be there."""
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text

    def send(self, page: str, action: str, **fields: str) -> Response:
        """Send a form as the page has it, with its token."""
        found = _CSRF.search(self.text(page))
        assert found, "the page has no form"
        return self.client.post(action, data={"csrf": found[1], **fields})

    def log_in(self, name: str, password: str, onward: str = "/") -> Response:
        return self.send("/login", "/login", name=name, password=password, next=onward)


@cache
def _template() -> Path:
    folder = Path(mkdtemp(prefix="sealane-fleet-"))
    atexit.register(shutil.rmtree, folder)
    init_development(StateFolder(folder), "demo", ["127.0.0.1"], ["vision"])
    return folder


@contextmanager
def a_dashboard(
    references: Scales | None = None,
    *,
    on_disk: bool = False,
    fill: Callable[[Store], None] = nothing,
) -> Iterator[Dashboard]:
    """A dashboard on a new fleet; vision/defect@1 and @2 are listed for slot cam.

    `fill`: puts into the store what it begins with, once a process.
    """
    with TemporaryDirectory() if on_disk else in_memory() as place:
        folder = Path(place)
        state = StateFolder(folder / "state")
        shutil.copytree(_template(), state.root)
        clock = FakeClock(START)
        store = a_new_store(state.database, fill)
        parts = build(ManagerSettings(state), store, clock)
        found = (Listed(OLD, OLD_MANIFEST, 600, SLOTS), Listed(NEW, MANIFEST, 700, SLOTS))
        parts.controller._world = replace(parts.controller._world, releases=lambda: found)
        enrolment = Enrolment("demo", store, parts.repository, parts.issuer, clock)
        offices = Offices(
            fleet="demo",
            store=store,
            accounts=Accounts(store.accounts, clock, WEAK_HASHER),
            alarms=Alarms(store.alerts, (), "demo", clock),
            controller=parts.controller,
            rollouts=Rollouts(parts.controller, store),
            members=Members(store, parts.sessions, enrolment, "127.0.0.1:1", clock),
            publishing=parts.publishing,
            repository=parts.repository,
            blobs=parts.blobs,
            drifting=Drifting(store.telemetry, references or parts.references),
            references=references or parts.references,
            clock=clock,
        )
        yield Dashboard(offices, Web(offices), clock)
        store.close()
