"""A version of the agent is judged, fetched, unpacked and started once, before it is activated."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from sealane import fileio
from sealane.bundle.layout import blob_path
from sealane.bundle.manifest import AGENT_TREE_PATH, layer_at
from sealane.bundle.types import ProbationLimits
from sealane.failure import FailureKind
from sealane.names import AGENT_SLOT, Digest, ReleaseName, hex_of
from sealane.trust.documents import Quarantined
from sealane_agent.errors import Failed
from sealane_agent.layout import ACTIVE, LKG, Pointer, StateFolder
from sealane_agent.slot.plan import plan
from sealane_agent.slot.state import Attempt, Observed, Restore, SetPointer, SlotRecord, State
from sealane_agent.store import Store, WrongBytes
from sealane_agent.upgrade.fitness import Rules
from sealane_agent.upgrade.folder import AGENT, UpgradeFolder
from sealane_agent.upgrade.launched import Launched, Relaunch
from sealane_agent.upgrade.staging import AgentStaging
from sealane_agent.upgrade.starts import PACKAGE, Starts
from sealane_agent.upgrade.versions import Versions
from sealane_agent.uplink.fetch import Policy
from sealane_manager.bundle.agent import AgentOrder, pack_agent
from support.agent_site import FACTS
from support.rollouts import START
from support.versions import version_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sealane.bundle.types import Manifest
    from sealane_agent.slot.state import Action
    from sealane_agent.uplink.fetch import Base

pytestmark = pytest.mark.slow

RELEASE = ReleaseName("sealane/agent", 1)


@dataclass
class Source:
    """Delivers the blobs of one layout, and notes which."""

    layout: Path
    asked: list[Digest]

    def fetch(self, digest: Digest, offset: int) -> Iterator[bytes]:
        self.asked.append(digest)
        yield blob_path(self.layout, digest).read_bytes()[offset:]

    def patched(self, digest: Digest, base: Base) -> Iterator[bytes]:  # noqa: ARG002 - no patches here
        return self.fetch(digest, 0)


@dataclass
class Site:
    """A device that runs what its package brought."""

    root: Path
    connected: bool = True

    def __post_init__(self) -> None:
        self.state = StateFolder(self.root / "state")
        self.folder = UpgradeFolder(self.state)
        self.store = Store(self.state)
        self.folder.begin()
        self.source = Source(self.root / "bundle", [])

    def versions(self, launched: Launched | None = None) -> Versions:
        found = launched or Launched()
        return Versions(self.folder, self.store, found, lambda: self.connected)

    def staging(self, rules: Rules | None = None, store: Store | None = None) -> AgentStaging:
        kept = store or self.store
        return AgentStaging(
            kept, self.source, self.versions(), FACTS, self.folder, rules or Rules(downgrade=True)
        )

    def pack(self, number: str, added: str = "", arch: str = "x86_64") -> Attempt:
        tree = version_tree(self.root / "tree", number, added)
        manifest, _ = pack_agent(AgentOrder(tree, self.root / "bundle", arch, 2.0))
        return self.attempt(manifest)

    def attempt(self, manifest: Manifest) -> Attempt:
        self.store.put(manifest.digest, manifest.content)
        self.manifest = manifest
        return Attempt(AGENT_SLOT, RELEASE, manifest.digest, "r-1", State.FETCHING, START)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


POLICY = Policy(lambda _: None, lambda: False)


def failed(site: Site, attempt: Attempt, staging: AgentStaging | None = None) -> Failed:
    with pytest.raises(Failed) as caught:
        (staging or site.staging()).fetch(attempt, POLICY)
    return caught.value


def test_a_version_that_fits_is_fetched_unpacked_and_says_what_it_is(site: Site) -> None:
    attempt = site.pack("99.1")
    limits = site.staging(Rules(deadline_s=20)).fetch(attempt, POLICY)
    assert limits.seconds == 2.0
    choice = asyncio.run(site.staging().prove(attempt))
    assert choice.proved.runtime_version == "99.1"
    assert choice.proved.worker == hex_of(attempt.manifest)
    status = asyncio.run(site.versions().status())[0]
    assert (status.active, status.standby) == (PACKAGE, (choice.proved.worker,))
    asyncio.run(site.versions().drop(AGENT_SLOT, choice.proved.worker))
    assert not site.folder.version(attempt.manifest).exists()


def test_what_cannot_run_here_is_refused_before_its_archive_is_fetched(site: Site) -> None:
    error = failed(site, site.pack("99.1", arch="aarch64"))
    assert error.failure.kind is FailureKind.PERMANENT
    assert "for architecture aarch64" in error.failure.message
    assert layer_at(site.manifest, AGENT_TREE_PATH).digest not in site.source.asked


def test_an_older_version_is_refused_unless_it_may_come_or_ran_before(site: Site) -> None:
    attempt = site.pack("0.0.1")
    assert "is older than" in failed(site, attempt, site.staging(Rules())).failure.message
    site.folder.keep_previous(Pointer(RELEASE, attempt.manifest, "agent"))
    site.staging(Rules()).fetch(attempt, POLICY)


def test_a_full_disk_is_the_environments_fault(site: Site) -> None:
    full = Store(site.state, lambda _: 0)
    error = failed(site, site.pack("99.1"), site.staging(store=full))
    assert error.failure.kind is FailureKind.ENVIRONMENTAL
    site.staging().fetch(site.attempt(site.manifest), POLICY)
    with pytest.raises(Failed, match="disk is full"):
        asyncio.run(site.staging(store=full).prove(site.attempt(site.manifest)))


def test_an_archive_that_changed_on_the_disk_is_noticed_before_it_is_unpacked(site: Site) -> None:
    attempt = site.pack("99.1")
    site.staging().fetch(attempt, POLICY)
    path = site.store.path(layer_at(site.manifest, AGENT_TREE_PATH).digest)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(WrongBytes):
        asyncio.run(site.staging().prove(attempt))
    assert not site.folder.version(attempt.manifest).exists()


@pytest.mark.parametrize(
    ("added", "reason"),
    [
        ("raise SystemExit(3)", "it ended 3"),
        ("import nothing_of_this_name", "ModuleNotFoundError"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "it ended -11"),
    ],
)
def test_a_version_that_does_not_start_is_never_activated(
    site: Site, added: str, reason: str
) -> None:
    attempt = site.pack("99.1", added)
    site.staging().fetch(attempt, POLICY)
    with pytest.raises(Failed) as caught:
        asyncio.run(site.staging().prove(attempt))
    assert reason in caught.value.failure.message
    assert caught.value.failure.kind is FailureKind.PERMANENT
    assert site.folder.pointers().active == PACKAGE


def test_a_version_on_trial_says_nothing_until_it_is_in_session(site: Site) -> None:
    version = Pointer(RELEASE, site.pack("99.1").manifest, "agent")
    site.folder.point(ACTIVE, version)
    site.connected = False
    trial = site.versions(Launched(version.manifest))
    with pytest.raises(ConnectionError, match="no session yet"):
        asyncio.run(trial.status())
    site.connected = True
    status = asyncio.run(trial.status())[0]
    assert (status.active, status.probation) == (version, True)


def test_a_version_that_is_kept_takes_the_alarm_away(site: Site) -> None:
    version = Pointer(RELEASE, site.pack("99.1").manifest, "agent")
    site.folder.point(ACTIVE, version)
    trial = site.versions(Launched(version.manifest))
    signal.alarm(1000)
    site.folder.point(LKG, version)
    assert not asyncio.run(trial.settle(AGENT_SLOT)).probation
    assert signal.alarm(0) == 0
    assert site.folder.starts(AGENT).count == 0


def test_a_version_that_is_activated_gives_its_place_to_the_launcher(site: Site) -> None:
    versions = site.versions()
    site.folder.write_starts(AGENT, Starts(PACKAGE.manifest, 2, "b", clean=False))

    async def story() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(versions.run())
            group.create_task(versions.activate(AGENT_SLOT, "", probation=True))

    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(story())
    assert caught.group_contains(Relaunch)
    assert site.folder.pointers().previous == PACKAGE
    assert site.folder.starts(AGENT) == replace(Starts(PACKAGE.manifest, 0, "b"), clean=True)


def test_a_device_that_is_left_to_its_package_starts_nothing(site: Site) -> None:
    versions = site.versions()
    versions.leave()
    with pytest.raises(ConnectionError, match="left to the package manager"):
        asyncio.run(versions.status())


def back(site: Site, version: Pointer, before: Pointer, rules: Rules) -> AgentStaging:
    """A device that runs a version and remembers another one before it."""
    for which in (ACTIVE, LKG):
        site.folder.point(which, version)
    site.folder.keep_previous(before)
    return replace(site.staging(rules), endpoint=site.versions(Launched(version.manifest)))


BACK = Attempt(AGENT_SLOT, PACKAGE.release, PACKAGE.manifest, "", State.FETCHING, START)


def test_what_the_package_brought_comes_back_without_a_byte(site: Site) -> None:
    version = Pointer(RELEASE, site.pack("99.1").manifest, "agent")
    staging = back(site, version, PACKAGE, Rules(deadline_s=30))
    assert staging.fetch(BACK, POLICY) == ProbationLimits(seconds=15.0, deadline_seconds=30)
    choice = asyncio.run(staging.prove(BACK))
    assert replace(BACK, choice=choice).pointer == PACKAGE
    versions = staging.endpoint
    assert asyncio.run(versions.status())[0].standby == (choice.proved.worker,)
    asyncio.run(versions.drop(AGENT_SLOT, choice.proved.worker))
    assert asyncio.run(versions.status())[0].standby == ()
    assert site.source.asked == []


def test_the_version_before_comes_again_and_its_files_stay_when_it_does_not(site: Site) -> None:
    attempt = site.pack("99.1")
    before = Pointer(RELEASE, attempt.manifest, "agent")
    site.staging().fetch(attempt, POLICY)
    asyncio.run(site.staging().prove(attempt))
    site.folder.keep_previous(before)
    staging = site.staging()
    choice = asyncio.run(staging.prove(attempt))
    versions = staging.endpoint
    assert asyncio.run(versions.status())[0].standby == (choice.proved.worker,)
    asyncio.run(versions.drop(AGENT_SLOT, choice.proved.worker))
    assert asyncio.run(versions.status())[0].standby == ()
    assert site.folder.version(attempt.manifest).is_dir()


def test_what_the_package_brought_does_not_come_where_another_version_ran_before(
    site: Site,
) -> None:
    attempt = site.pack("99.1")
    version = Pointer(RELEASE, attempt.manifest, "agent")
    before = Pointer(ReleaseName("sealane/agent", 7), Digest("sha256:" + "7" * 64), "agent")
    error = failed(site, BACK, back(site, version, before, Rules()))
    assert error.failure.kind is FailureKind.ENVIRONMENTAL
    assert "sealane/agent@7 ran before" in error.failure.message
    back(site, version, before, Rules(downgrade=True)).fetch(BACK, POLICY)


def previous(site: Site, version: Pointer) -> Pointer | None:
    versions = site.versions(Launched(version.manifest))
    return asyncio.run(versions.status())[0].previous


def test_what_was_good_before_is_named_while_its_files_are_here_else_the_package(
    site: Site,
) -> None:
    version = Pointer(RELEASE, site.pack("99.1").manifest, "agent")
    before = replace(version, manifest=Digest("sha256:" + "b" * 64))
    assert previous(site, PACKAGE) is None
    back(site, version, before, Rules())
    assert previous(site, version) == PACKAGE, "its files are gone"
    fileio.make_folder(site.folder.version(before.manifest))
    assert previous(site, version) == before
    site.folder.keep_previous(version)
    assert previous(site, version) == PACKAGE


def test_a_version_in_quarantine_gives_its_place_to_the_one_before_by_the_slots_own_table(
    site: Site,
) -> None:
    version = Pointer(RELEASE, site.pack("99.1").manifest, "agent")
    back(site, version, PACKAGE, Rules())
    kept = replace(site.attempt(site.manifest), state=State.QUARANTINED)
    order = {version.manifest: Quarantined(version.manifest, "it leaks")}
    record = SlotRecord(AGENT_SLOT, kept, ordered=order)
    versions = site.versions(Launched(version.manifest))

    def act() -> Action:
        found, status = site.folder.pointers(), asyncio.run(versions.status())[0]
        return plan(
            None,
            record,
            Observed(heard=True, active=found.active, lkg=found.lkg, serving=status),
            START,
        )

    while isinstance(action := act(), SetPointer):
        assert action.pointer is not None
        site.folder.point(action.which, action.pointer)
    assert action == Restore(PACKAGE)
    pointers = site.folder.pointers()
    assert (pointers.active, pointers.lkg) == (PACKAGE, PACKAGE)
