"""The renewer on a clock that tests move: in time, told once, never without the old certificate."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from sealane import fileio
from sealane_agent.errors import Refused, Unreachable
from sealane_agent.identity.membership import Certifier
from sealane_agent.identity.passport import Passport
from sealane_agent.identity.renewer import Renewer
from support.disks import FailingDisk
from support.passports import WHO, Office

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from sealane_agent.identity.membership import Membership


@dataclass
class Manager:
    """Answers renewals, or not; its sessions open when it is told so."""

    office: Office
    reachable: bool = True
    forgiving: bool = False
    asked: list[bytes] = field(default_factory=list)
    proved: list[bytes] = field(default_factory=list)
    redials: int = 0
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    def renew(self, _membership: Membership, csr: bytes) -> bytes:
        self.asked.append(csr)
        if not self.reachable:
            raise Unreachable("the manager does not answer")
        return self.office.sign(csr)

    def rejoin(self, _membership: Membership, csr: bytes) -> bytes:
        self.proved.append(csr)
        if not self.forgiving:
            raise Refused("the certificate ended more than 90 days ago")
        return self.office.sign(csr)

    def redial(self) -> None:
        self.redials += 1
        self.opened.clear()

    async def open(self) -> None:
        await self.opened.wait()


@dataclass
class Scene:
    office: Office
    passport: Passport
    manager: Manager
    lines: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    def log(self, event: str, **fields: object) -> None:
        self.lines.append((event, fields))

    def said(self, event: str) -> list[dict[str, object]]:
        return [fields for name, fields in self.lines if name == event]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        certifier = Certifier(self.manager.renew, self.manager.rejoin)
        renewer = Renewer(self.passport, certifier, self.manager, self.log)
        task = asyncio.create_task(renewer.run(self.office.clock.now, lambda: 0.0))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    office = Office(tmp_path)
    return Scene(office, Passport(office.enrolled(tmp_path), WHO), Manager(office))


async def until(found: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not found():  # noqa: ASYNC110 - what is awaited is a file or a line, not an event
            await asyncio.sleep(0)


def play(scene: Scene, story: Callable[[Scene], Awaitable[None]]) -> None:
    async def act() -> None:
        scene.manager.opened = asyncio.Event()
        async with scene.running():
            await story(scene)

    asyncio.run(act())


def test_nothing_is_asked_before_two_thirds_of_its_life(scene: Scene) -> None:
    async def story(scene: Scene) -> None:
        scene.office.clock.advance(timedelta(hours=14))
        for _ in range(50):
            await asyncio.sleep(0)
        assert scene.manager.asked == []

    play(scene, story)


def test_a_certificate_that_is_due_is_renewed_shown_and_then_settled(scene: Scene) -> None:
    before = scene.passport.certificate
    scene.office.clock.advance(timedelta(hours=17))

    async def story(scene: Scene) -> None:
        await until(lambda: scene.manager.redials)
        assert scene.passport.certificate != before
        assert scene.passport.unsettled, "the old one stays until the new one has connected"
        scene.manager.opened.set()
        await until(lambda: not scene.passport.unsettled)

    play(scene, story)
    assert len(scene.manager.asked) == 1
    assert len(scene.said("certificate renewed")) == 1


def test_a_manager_that_does_not_answer_is_told_of_once_and_asked_for_the_same_key(
    scene: Scene,
) -> None:
    scene.manager.reachable = False
    scene.office.clock.advance(timedelta(hours=17))

    async def fail(scene: Scene) -> None:
        await until(lambda: scene.said("certificate not renewed"))

    for _ in range(2):
        play(scene, fail)
        scene.lines.clear()
    keys = [x509.load_der_x509_csr(csr).public_key() for csr in scene.manager.asked]
    assert keys[0] == keys[-1]


def test_an_expired_certificate_is_told_once_with_what_to_do(scene: Scene) -> None:
    scene.office.clock.advance(timedelta(hours=25))

    async def story(scene: Scene) -> None:
        await until(lambda: scene.said("certificate expired"))

    play(scene, story)
    (told,) = scene.said("certificate expired")
    assert "more than 90 days ago" in str(told["reason"])
    assert "sealane device token" in str(told["hint"])
    assert scene.manager.asked == []


def test_a_device_that_was_away_for_long_proves_who_it_is_with_a_new_key(scene: Scene) -> None:
    before = scene.passport.certificate
    scene.manager.forgiving = True
    scene.office.clock.advance(timedelta(days=30))

    async def story(scene: Scene) -> None:
        await until(lambda: scene.manager.redials)
        scene.manager.opened.set()
        await until(lambda: not scene.passport.unsettled)

    play(scene, story)
    assert len(scene.manager.proved) == 1
    assert scene.passport.certificate.public_key() != before.public_key()
    assert len(scene.said("certificate renewed after its end")) == 1


def test_a_renewal_that_was_never_shown_is_followed_by_another_key_after_a_long_absence(
    scene: Scene,
) -> None:
    scene.office.clock.advance(timedelta(hours=17))
    scene.passport.take(scene.office.sign(scene.passport.request()))
    waiting = scene.passport.certificate.public_key()
    scene.manager.forgiving = True
    scene.office.clock.advance(timedelta(days=30))

    async def story(scene: Scene) -> None:
        await until(lambda: scene.said("certificate renewed after its end"))

    play(scene, story)
    (csr,) = scene.manager.proved
    assert x509.load_der_x509_csr(csr).public_key() != waiting


def test_a_certificate_that_waits_to_be_shown_is_settled_after_a_restart(scene: Scene) -> None:
    scene.office.clock.advance(timedelta(hours=17))
    scene.passport.take(scene.office.sign(scene.passport.request()))

    async def story(scene: Scene) -> None:
        scene.manager.opened.set()
        await until(lambda: not scene.passport.unsettled)

    play(scene, story)
    assert scene.manager.asked == []


def test_a_certificate_that_is_seen_but_not_durable_is_shown_before_it_is_settled(
    scene: Scene,
) -> None:
    disk = FailingDisk()

    def renew(_membership: Membership, csr: bytes) -> bytes:
        disk.failing["sync folder"] = 1
        return scene.office.sign(csr)

    scene.manager.renew = renew  # type: ignore[method-assign]  # the disk fails after the answer
    scene.office.clock.advance(timedelta(hours=17))

    async def story(scene: Scene) -> None:
        scene.manager.opened.set()
        await until(lambda: scene.manager.redials)
        assert scene.said("certificate not renewed")
        assert scene.passport.unsettled
        scene.manager.opened.set()
        await until(lambda: not scene.passport.unsettled)

    with fileio.using(disk):
        play(scene, story)
