"""A supervisor with its real journal, store and loops; endpoint and manager are simulated."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sealane import fileio
from sealane.bundle.types import ProbationLimits
from sealane.errors import TrustError
from sealane.failure import FailureKind
from sealane.holds import Hold
from sealane.names import SlotName
from sealane.trust.documents import Quarantined
from sealane_agent.layout import LKG, Pointer
from sealane_agent.serving.messages import Traffic
from sealane_agent.slot.loop import TICK_OPEN_S
from sealane_agent.slot.state import State
from support.agent_fakes import CAM, failure
from support.agent_site import Site
from support.disks import FailingDisk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sealane.names import Digest

GATE = SlotName("gate")
WATCHED = ProbationLimits(seconds=0, min_requests=10)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def serve(site: Site, version: int) -> None:
    """Bring one version to the end, so that something serves."""
    site.want(site.wish(version))
    async with site.supervisor() as run:
        assert await run.hear()
        await run.settled((version, version))


def test_a_release_goes_from_the_document_to_its_receipt(site: Site) -> None:
    async def story() -> None:
        site.want(site.wish(1))
        async with site.supervisor() as run:
            assert await run.hear()
            await run.settled((1, 1))
            words = ["accepted", "fetching", "fetching", "staged", "activating", "probation"]
            assert run.states() == [*words, "committed"]
            (receipt,) = run.receipts()
            assert (receipt.verdict, receipt.release, receipt.rollout) == (
                "serving",
                "demo/tiny@1",
                "r1",
            )
            await run.wait_for(lambda: not site.endpoint.statuses[CAM].probation)

    asyncio.run(story())


def test_a_document_that_is_refused_changes_nothing(site: Site) -> None:
    async def story() -> None:
        await serve(site, 1)
        site.judge.accepted = None
        async with site.supervisor() as run:
            assert not await run.hear()
            await run.settled((1, 1))
        assert "document refused" in [event for event, _ in site.lines.events]

    asyncio.run(story())


def test_a_release_that_was_refused_fails_with_the_verifiers_words(site: Site) -> None:
    async def story() -> None:
        await serve(site, 1)
        site.want(site.wish(2), refused=TrustError("14 listed", "it is not listed"))
        async with site.supervisor() as run:
            await run.hear()
            await run.until(State.FAILED)
            attempt = run.journal.read(CAM).attempt
            assert attempt is not None
            assert attempt.failure is not None
            assert "14 listed" in attempt.failure.message
            await run.settled((1, 1))

    asyncio.run(story())


@pytest.mark.parametrize(
    "state", ["accepted", "fetching", "staged", "activating", "probation", "committed"]
)
def test_a_supervisor_that_dies_after_any_word_is_continued_by_the_next(
    site: Site, state: str
) -> None:
    async def story() -> None:
        await serve(site, 1)
        site.want(site.wish(2))
        site.lines.dies_at = state
        async with site.supervisor() as run:
            await run.hear()
            await run.dead()
        await finish(site)

    asyncio.run(story())


@pytest.mark.parametrize("command", ["load", "activate"])
def test_a_supervisor_that_dies_after_a_command_is_continued_by_the_next(
    site: Site, command: str
) -> None:
    async def story() -> None:
        await serve(site, 1)
        site.want(site.wish(2))
        site.endpoint.dies_after = command
        async with site.supervisor() as run:
            await run.hear()
            await run.dead()
        await finish(site)

    asyncio.run(story())


async def finish(site: Site) -> None:
    """The next supervisor brings version 2 to its end, with one receipt."""
    async with site.supervisor() as run:
        await run.hear()
        await run.settled((2, 2))
        await run.until(State.COMMITTED)
        await run.wait_for(lambda: site.endpoint.statuses[CAM].standby == ())
        assert [item.release for item in run.receipts()] == ["demo/tiny@1", "demo/tiny@2"]


def test_a_probation_ends_without_any_manager(site: Site) -> None:
    site.probation = WATCHED

    async def story() -> None:
        site.want(site.wish(1))
        async with site.supervisor() as run:
            await run.hear()
            await run.until(State.PROBATION)
        async with site.supervisor() as run:
            site.endpoint.count(CAM, Traffic(10))
            await run.until(State.COMMITTED)

    asyncio.run(story())


def test_changed_bytes_are_refused_and_the_old_model_goes_on(site: Site) -> None:
    async def story() -> None:
        await serve(site, 1)
        site.want(site.wish(2))
        model = next(item for item in site.bundle(2).layers if item.path.endswith(".onnx"))
        site.blobs.contents[model.digest] = bytes(model.size)
        async with site.supervisor() as run:
            await run.hear()
            await run.until(State.FAILED)
            await run.settled((1, 1))
            record = run.journal.read(CAM)
            assert record.attempt is not None
            assert record.attempt.failure is not None
            assert "do not match its digest" in record.attempt.failure.message
            assert record.quarantined == {}, "the transport is at fault, not the release"

    asyncio.run(story())


def test_a_release_that_never_proves_itself_is_quarantined(site: Site) -> None:
    async def story() -> None:
        await serve(site, 1)
        wish = site.wish(2)
        site.endpoint.bad[wish.manifest] = failure(FailureKind.PERMANENT, message="golden missed")
        site.want(wish)
        async with site.supervisor() as run:
            await run.hear()
            await run.until(State.FAILED)
            assert run.journal.read(CAM).quarantined == {wish.manifest: "golden missed"}
            site.want(replace(wish, rollout="again"))
            await run.hear()
            await run.until(State.QUARANTINED)
            await run.settled((1, 1))

    asyncio.run(story())


def test_a_release_that_breaks_its_limits_goes_back_by_itself(site: Site) -> None:
    site.probation = WATCHED

    async def story() -> None:
        site.want(site.wish(1))
        async with site.supervisor() as run:
            await run.hear()
            await run.until(State.PROBATION)
            site.endpoint.count(CAM, Traffic(10))
            await run.settled((1, 1))
            site.want(site.wish(2))
            await run.hear()
            await run.until(State.PROBATION)
            site.endpoint.count(CAM, Traffic(8, errors=8, fallbacks=8))
            await run.until(State.ROLLED_BACK)
            await run.settled((1, 1))
            last = run.receipts()[-1]
            assert (last.verdict, last.release) == ("rolled_back", "demo/tiny@2")
            assert (last.requests, last.errors, last.fallbacks) == (8, 8, 8)

    asyncio.run(story())


@pytest.mark.parametrize(
    ("dies_at", "dies_after"), [("rolling_back", ""), ("", "return"), ("rolled_back", "")]
)
def test_a_rollback_is_finished_by_the_next_supervisor(
    site: Site, dies_at: str, dies_after: str
) -> None:
    site.probation = WATCHED

    async def story() -> None:
        site.want(site.wish(1))
        async with site.supervisor() as run:
            await run.hear()
            await run.until(State.PROBATION)
            site.endpoint.count(CAM, Traffic(10))
            await run.settled((1, 1))
            site.want(site.wish(2))
            await run.hear()
            await run.until(State.PROBATION)
            site.endpoint.dies_after = dies_after
            site.lines.dies_at = dies_at
            site.endpoint.count(CAM, Traffic(1, crashes=1))
            await run.dead()
        async with site.supervisor() as run:
            await run.until(State.ROLLED_BACK)
            await run.settled((1, 1))
            assert [item.verdict for item in run.receipts()] == ["serving", "rolled_back"]

    asyncio.run(story())


def test_a_rollout_that_finds_its_release_serving_gets_a_receipt(site: Site) -> None:
    async def story() -> None:
        await serve(site, 1)
        site.want(replace(site.wish(1), rollout="again"))
        async with site.supervisor() as run:
            await run.hear()
            await run.wait_for(lambda: len(run.receipts()) == 2)
            assert [item.rollout for item in run.receipts()] == ["r1", "again"]
            assert run.states()[-1] == "committed"

    asyncio.run(story())


def test_two_slots_do_not_wait_for_each_other(site: Site) -> None:
    opened = threading.Event()
    slow = site.wish(2, GATE)
    real = site.blobs.fetch

    def held(digest: Digest, offset: int) -> Iterator[bytes]:
        layers = {item.digest for item in site.bundle(2).layers}
        if digest in layers - {item.digest for item in site.bundle(1).layers}:
            opened.wait(10)
        return real(digest, offset)

    site.blobs.fetch = held  # type: ignore[method-assign]  # one delivery that hangs

    async def story() -> None:
        site.want(site.wish(1), slow)
        async with site.supervisor() as run:
            await run.hear()
            await run.until(State.COMMITTED, CAM)
            assert run.state(GATE) is State.FETCHING
            opened.set()
            await run.until(State.COMMITTED, GATE)

    asyncio.run(story())


def test_a_fetch_that_nobody_wants_any_more_is_given_up(site: Site) -> None:
    site.blobs.chunk = 1
    begun, go_on = threading.Event(), threading.Event()
    real = site.blobs.fetch

    def held(digest: Digest, offset: int) -> Iterator[bytes]:
        for chunk in real(digest, offset):
            yield chunk
            begun.set()
            go_on.wait(10)

    site.blobs.fetch = held  # type: ignore[method-assign]  # a delivery that waits

    async def story() -> None:
        site.want(site.wish(1))
        async with site.supervisor() as run:
            await run.hear()
            await asyncio.to_thread(begun.wait, 10)
            site.want()
            await run.hear()
            go_on.set()
            await run.until(State.IDLE)
            assert run.states()[-1] == "idle"

    asyncio.run(story())


def test_an_endpoint_that_is_away_is_waited_for(site: Site) -> None:
    site.endpoint.gone = True

    async def story() -> None:
        site.want(site.wish(1))
        async with site.supervisor() as run:
            await run.hear()
            await run.until(State.FETCHING)
            site.endpoint.gone = False
            run.supervisor.look()
            await run.settled((1, 1))

    asyncio.run(story())


def test_what_nothing_needs_leaves_the_store(site: Site) -> None:
    async def story() -> None:
        for version in (1, 2, 3):
            await serve(site, version)
        views = {path.name for path in site.folder.views.iterdir()}
        kept = {site.bundle(version).digest.partition(":")[2] for version in (2, 3)}
        assert views == kept, "what serves, and what served before as warm previous"

    asyncio.run(story())


def test_a_disk_that_fails_while_the_store_is_cleaned_does_not_end_the_supervisor(
    site: Site,
) -> None:
    async def story() -> None:
        for version in (1, 2):
            await serve(site, version)
        with fileio.using(disk := FailingDisk()):
            disk.failing["unlink"] = 20
            site.want(site.wish(3))
            async with site.supervisor() as run:
                assert await run.hear()
                await run.wait_for(lambda: "store not cleaned" in str(site.lines.events))
        site.want(site.wish(4))
        async with site.supervisor() as run:
            assert await run.hear()
            await run.settled((4, 4))
            await run.wait_for(lambda: len(list(site.folder.views.iterdir())) == 2)

    asyncio.run(story())


def test_a_pointer_is_made_durable_before_a_new_supervisor_believes_it(site: Site) -> None:
    async def story() -> None:
        await serve(site, 1)
        with fileio.using(disk := FailingDisk()):
            async with site.supervisor() as run:
                await run.hear()
                slot = site.folder.pointer(CAM, "lkg").parent
                await run.wait_for(lambda: slot in disk.synced)

    asyncio.run(story())


def test_an_action_that_changes_nothing_is_repeated_at_a_walk(site: Site) -> None:
    dropped: list[float] = []

    async def drop(slot: str, worker: str) -> None:
        assert (slot, worker) == (CAM, "cam-stuck")
        dropped.append(asyncio.get_running_loop().time())

    async def story() -> None:
        await serve(site, 1)
        stuck = replace(site.endpoint.statuses[CAM], standby=("cam-stuck",))
        site.endpoint.statuses[CAM] = stuck
        site.endpoint.drop = drop  # type: ignore[method-assign]  # a worker that does not go
        async with site.supervisor() as run:
            await run.wait_for(lambda: len(dropped) > 3)
        assert dropped[3] - dropped[1] > TICK_OPEN_S

    asyncio.run(story())


def test_a_release_in_quarantine_goes_at_once_and_an_offline_restart_does_not_bring_it_back(
    site: Site,
) -> None:
    async def story() -> None:
        await serve(site, 1)
        await serve(site, 2)
        assert site.endpoint.statuses[CAM].previous is not None
        away = (Quarantined(site.bundle(2).digest, "wrong labels"),)
        site.want(quarantined=away)
        async with site.supervisor() as run:
            assert await run.hear()
            await run.settled((1, 1))
            await run.wait_for(lambda: site.endpoint.statuses[CAM].previous is None)
            assert run.states()[-1] == "quarantined"
            assert "quarantine ordered" in [event for event, _ in site.lines.events]
        site.endpoint.begin(CAM, Pointer.decode(site.folder.pointer(CAM, LKG).read_bytes()))
        async with site.supervisor() as run:
            await run.settled((1, 1))
            assert {*run.journal.read(CAM).ordered} == {site.bundle(2).digest}

    asyncio.run(story())


def test_a_good_release_serves_on_and_what_is_warm_beside_it_is_dropped(site: Site) -> None:
    async def story() -> None:
        await serve(site, 1)
        await serve(site, 2)
        wish = site.wish(2)
        site.want(wish, quarantined=(Quarantined(site.bundle(1).digest, "wrong labels"),))
        async with site.supervisor() as run:
            assert await run.hear()
            await run.wait_for(lambda: site.endpoint.statuses[CAM].previous is None)
            await run.settled((2, 2))

    asyncio.run(story())


def test_a_manager_that_says_nothing_of_quarantine_changes_nothing_of_it(site: Site) -> None:
    async def story() -> None:
        await serve(site, 1)
        site.want(site.wish(1), quarantined=(Quarantined(site.bundle(2).digest, "wrong"),))
        async with site.supervisor() as run:
            assert await run.hear()
            site.want(site.wish(1))
            assert await run.hear()
            assert {*run.journal.read(CAM).ordered} == {site.bundle(2).digest}

    asyncio.run(story())


def test_a_hold_of_the_manager_keeps_a_release_waiting_until_the_manager_ends_it(
    site: Site,
) -> None:
    until = datetime.now(UTC) + timedelta(hours=1)
    hold = Hold("m-1", "", "ada", "the plant is audited", until.replace(microsecond=0))

    async def story() -> None:
        await serve(site, 1)
        site.want(site.wish(2), holds=(hold,))
        async with site.supervisor() as run:
            assert await run.hear()
            await run.until(State.WAITING)
        async with site.supervisor() as run:
            site.want(site.wish(2))
            assert await run.hear()
            await run.wait_for(lambda: bool(run.supervisor.reports()[0].failure))
            said = run.supervisor.reports()[0].failure
            assert said is not None
            assert said.component == "hold"
            assert said.message.startswith("ada holds it until")
            site.want(site.wish(2), holds=())
            assert await run.hear()
            await run.settled((2, 2))

    asyncio.run(story())


@pytest.mark.parametrize("news", [{"degraded": "its card is gone"}, {"active": None}])
def test_what_serves_changes_without_a_transition_and_is_said_at_once(
    site: Site, news: dict[str, Any]
) -> None:
    async def story() -> None:
        await serve(site, 1)
        async with site.supervisor() as run:
            await run.settled((1, 1))
            await run.wait_for(
                lambda: any(each.active_release for each in run.supervisor.reports())
            )
            pending = run.journal.pending()
            site.said.clear()
            site.endpoint.statuses[CAM] = replace(site.endpoint.statuses[CAM], **news)
            run.supervisor.look()
            await asyncio.wait_for(site.said.wait(), 60)
            assert run.journal.pending() == pending
            (told,) = run.supervisor.reports()
            assert told.degraded == news.get("degraded", "")

    asyncio.run(story())
