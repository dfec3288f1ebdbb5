"""Carries rollouts out: reads, decides, writes one transaction, and tells devices after the commit.

The database is the truth. What is here in memory (who waits to be told, who watches) can be lost at
any moment: devices compare generations when they connect, and the next tick decides again.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final, Protocol

from sealane.names import AGENT_SLOT
from sealane.trust.agreement import ANY_SLOT

from sealane_manager import selector
from sealane_manager.errors import NotKnown, Refused
from sealane_manager.rollout.advance import advance
from sealane_manager.rollout.measure import Measures
from sealane_manager.rollout.operate import Word, operate
from sealane_manager.rollout.sessions import Listening, Sessions
from sealane_manager.rollout.types import RolloutSpec, RolloutState, Stage, Step
from sealane_manager.rollout_file.applying import Outcome, Wish, id_of, outcome
from sealane_manager.store.records import By, Draft, ReleaseSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sealane.clock import Clock
    from sealane.names import DeviceId, Digest, ReleaseName, SlotName

    from sealane_manager.gate.types import Seen
    from sealane_manager.rollout.measure import Windows
    from sealane_manager.rollout.types import Rollout
    from sealane_manager.store.records import (
        Changed,
        JudgementRecord,
        QuarantineRecord,
    )
    from sealane_manager.store.store import Store

TICK_S: Final = 1.0
"""Seconds between two looks at the live rollouts when nothing wakes the controller."""

FLUSH_S: Final = 30.0
"""Seconds between two writes of when devices were last heard."""

JOIN_EVERY: Final = timedelta(seconds=10)
"""Between two looks for devices that may join a rollout."""

DEAF_AFTER: Final = timedelta(seconds=60)
"""A gap between two ticks, or a jump of the clock, after which silence says nothing yet."""

MAX_REASON: Final = 1000
"""Characters of an operator's reason: it stands in the log and beside the rollout."""

ACTOR: Final = "controller"

_log = logging.getLogger(__name__)


class Listed(Protocol):
    """A release in the repository, as far as a rollout needs it."""

    @property
    def name(self) -> ReleaseName:
        """The release."""
        ...

    @property
    def manifest(self) -> Digest:
        """Digest of its manifest."""
        ...

    @property
    def length(self) -> int:
        """Length of its manifest in bytes."""
        ...

    @property
    def slots(self) -> tuple[str, ...]:
        """Where it may serve."""
        ...


@dataclass(frozen=True, slots=True)
class World:
    """What the controller needs of the rest of the manager.

    Attributes:
        releases: every release that is listed now.
        reachable: the devices that hold a session now; called from any thread.
        notify: tells one device that its desired state has this generation; called on the loop.
        windows: what devices reported of their models.
    """

    releases: Callable[[], Iterable[Listed]]
    reachable: Callable[[], frozenset[DeviceId]]
    notify: Callable[[DeviceId, int], None]
    clock: Clock
    windows: Windows


class Controller:
    """Moves every live rollout on; `create`, `operate` and `tick` block and may run in threads."""

    def __init__(self, store: Store, world: World) -> None:
        self._store = store
        self._world = world
        self._told: SimpleQueue[tuple[DeviceId, int]] = SimpleQueue()
        self._listening_since = world.clock.now()
        self._last_tick = (world.clock.now(), world.clock.monotonic())
        self._shown: dict[str, tuple[Rollout, int]] = {}
        self._sessions = Sessions()
        self._revision = 0
        self._dirty = threading.Event()
        self._changed = asyncio.Event()
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._measures = Measures(world.windows)
        self._joined = datetime.min.replace(tzinfo=UTC)
        self._seen: dict[str, Seen] = {}

    # What operators ask

    def preview(self, spec: RolloutSpec, rollout: str) -> Rollout:
        """The rollout that `create` would start under this id; raises what `create` raises."""
        source = self._source(spec.release, spec.slot)
        draft = Draft(rollout, spec, source, selector.parse(spec.selector))
        return self._with_sessions(self._store.rollouts.preview(draft, self._world.clock.now()))

    def create(self, spec: RolloutSpec, actor: str, reason: str, rollout: str = "") -> Rollout:
        """Start a rollout, under the id that was previewed or a new one.

        Raises InvalidName for a malformed selector or too many stages, NotKnown when the release
        is not listed, and Refused when it does not fit the slot, matches no device, changes
        nothing, or collides with a live rollout.
        """
        _check_reason(reason)
        source = self._source(spec.release, spec.slot)
        chosen = selector.parse(spec.selector)
        draft = Draft(rollout or self.next_id(Wish("", spec)), spec, source, chosen)
        changed = self._store.rollouts.create(draft, By(actor, reason, self._world.clock.now()))
        self._tell(changed)
        self._dirty.set()
        self.wake()
        return self._with_sessions(changed.rollout)

    def apply(self, wish: Wish, actor: str, reason: str) -> tuple[Outcome, Rollout]:
        """Start what a file asks for, unless the last rollout of its name does so already.

        Raises what `create` raises, and Refused when that rollout is not over and differs.
        """
        _check_reason(reason)
        found = self._store.rollouts.named(wish.name)
        if found and outcome(wish, found) is Outcome.UNCHANGED:
            return Outcome.UNCHANGED, self._with_sessions(found)
        source = self._source(wish.spec.release, wish.spec.slot)
        chosen = selector.parse(wish.spec.selector)
        draft = Draft(self.next_id(wish), wish.spec, source, chosen, wish.name)
        followed, changed = self._store.rollouts.apply(
            draft, By(actor, reason, self._world.clock.now())
        )
        self._tell(changed)
        self._dirty.set()
        self.wake()
        return followed, self._with_sessions(changed.rollout)

    def next_id(self, wish: Wish) -> str:
        """The id under which this would start now: the same until it has started."""
        ids = (id_of(wish, attempt) for attempt in count())
        return next(each for each in ids if not self._store.rollouts.taken(each))

    def roll_back(self, device: DeviceId, slot: SlotName, reason: str, actor: str) -> Rollout:
        """Start a rollout of what a slot of one device served before.

        Raises NotKnown when nothing is known of that, and what `create` raises.
        """
        release = self._store.desired.before(device, slot)
        spec = RolloutSpec(
            release, slot, selector.one(device), (Stage(percent=100),), soak=timedelta(0)
        )
        return self.create(spec, actor, f"roll back of {device}: {reason}".rstrip(": "))

    def operate(self, rollout: str, word: Word) -> Rollout:
        """Do what an operator says; raises NotKnown, or Refused with the reason."""
        _check_reason(word.reason)
        now = self._world.clock.now()
        changed = self._store.rollouts.change(
            rollout,
            lambda found: operate(self._with_sessions(found), word, now),
            By(word.actor, word.reason, now),
        )
        self._tell(changed)
        self._dirty.set()
        self.wake()
        return changed.rollout

    def quarantine(
        self, release: ReleaseName, reason: str, actor: str, *, stops: bool = False
    ) -> int:
        """Take a release off every device; returns how many must hear of it.

        `stops`: slots in which nothing else can serve are emptied. Raises NotKnown when it was
        never listed here, and Refused when it is in quarantine.
        """
        _check_reason(reason)
        found = next((each for each in self._world.releases() if each.name == release), None)
        if not found:
            raise NotKnown(f"release {release} is not listed", hint="see `sealane release list`")
        source = ReleaseSource(found.name, found.manifest, found.length)
        by = By(actor, reason, self._world.clock.now())
        return self._spread(self._store.quarantine.put(source, by, stops=stops))

    def lift(self, release: ReleaseName, reason: str, actor: str) -> None:
        """Let a release be rolled out again; raises NotKnown."""
        _check_reason(reason)
        by = By(actor, reason, self._world.clock.now())
        self._spread(self._store.quarantine.lift(str(release), by))

    def quarantined(self) -> tuple[QuarantineRecord, ...]:
        """Every release in quarantine."""
        return self._store.quarantine.list()

    def get(self, rollout: str) -> Rollout:
        """One rollout as it stands; raises NotKnown."""
        return self._with_sessions(self._store.rollouts.get(rollout))

    def judgements(self, rollout: str) -> tuple[JudgementRecord, ...]:
        """What the gate of one rollout said, in order; raises NotKnown."""
        return self._store.judgements.of(self._store.rollouts.id_of(rollout))

    # What happens by itself

    def tick(self, now: datetime) -> None:
        """Move every live rollout as far as it can go, and tell devices and watchers."""
        self._turn(now)
        self._deliver()

    def wake(self) -> None:
        """Something happened (an event, a session, an operator): look now. From any thread."""
        if self._loop:
            # Who waits to be told does not wait for the look that may be under way.
            self._loop.call_soon_threadsafe(self._deliver)
            self._loop.call_soon_threadsafe(self._wake.set)

    async def run(self) -> None:
        """Tick when woken, or every second, until cancelled; a failed tick is tried again."""
        self._loop = asyncio.get_running_loop()
        flushed = self._world.clock.monotonic()
        try:
            while True:
                began = self._world.clock.monotonic()
                await self._turn_safely()
                took = self._world.clock.monotonic() - began
                # Every device is judged at each look: large rollouts leave time for the rest.
                await asyncio.sleep(min(took, TICK_S))
                if self._world.clock.monotonic() - flushed >= FLUSH_S:
                    await self._flush_safely()
                    flushed = self._world.clock.monotonic()
                await self._sleep()
        finally:
            self._loop = None

    @property
    def revision(self) -> int:
        """Grows when a rollout has changed: remember it, look, then await `changed` with it."""
        return self._revision

    async def changed(self, after: int) -> int:
        """Wait on the loop until the revision is above `after`, and return it."""
        while self._revision <= after:
            await self._changed.wait()
        return self._revision

    async def _turn_safely(self) -> None:
        now = self._world.clock.now()
        try:
            await _to_its_end(self._turn, now)
            self._deliver()
        except Exception:  # noqa: BLE001 - one bad tick must not end every rollout
            _log.exception("a tick failed; it is tried again")

    async def _flush_safely(self) -> None:
        try:
            await asyncio.to_thread(self._store.devices.flush_seen)
        except Exception:  # noqa: BLE001 - nor must a disk that is full for a while
            _log.exception("when devices were heard could not be written; it is tried again")

    async def _sleep(self) -> None:
        try:
            async with asyncio.timeout(TICK_S):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    def _turn(self, now: datetime) -> None:
        self._listen(now)
        by = By(ACTOR, "", now)
        self._let_join(now)
        live = self._store.rollouts.live()
        self._measures.forget(frozenset(live))
        self._sessions.forget(live)
        self._seen = {key: seen for key, seen in self._seen.items() if key in live}
        for rollout in {**dict.fromkeys(live), **self._shown}:
            revision = self._store.rollouts.revision
            found = self._measured(self._with_sessions(self._store.rollouts.get(rollout)), now)
            if advance(found, now) != Step(found):  # most looks decide nothing: no writer needed
                changed = self._store.rollouts.change(rollout, lambda it: self._step(it, now), by)
                self._tell(changed)
                found = changed.rollout
            self._show(found, revision)

    def _let_join(self, now: datetime) -> None:
        """Take devices that match by now into the rollouts that asked for it."""
        if now - self._joined < JOIN_EVERY:
            return
        self._joined = now
        for rollout in self._store.rollouts.live():
            found = self._store.rollouts.get(rollout)
            if found.spec.terms.joins and found.state is RolloutState.RUNNING:
                source = self._source(found.spec.release, found.spec.slot)
                draft = Draft(rollout, found.spec, source, selector.parse(found.spec.selector))
                self._store.rollouts.join(draft, By(ACTOR, "", now))

    def _measured(self, found: Rollout, now: datetime) -> Rollout:
        """With what its devices reported; the same for all who look until it is read again."""
        if found.state is not RolloutState.RUNNING:
            return found
        self._seen[found.id] = self._measures.of(found, now)
        return replace(found, seen=self._seen[found.id])

    def _step(self, found: Rollout, now: datetime) -> Step:
        return advance(self._with_sessions(found), now)

    def _listen(self, now: datetime) -> None:
        """Forget silence from before a pause of this process or a jump of its clock."""
        wall, monotonic = self._last_tick
        self._last_tick = (now, self._world.clock.monotonic())
        elapsed = timedelta(seconds=self._last_tick[1] - monotonic)
        if elapsed > DEAF_AFTER or abs((now - wall) - elapsed) > DEAF_AFTER:
            self._listening_since = now

    def _with_sessions(self, rollout: Rollout) -> Rollout:
        listening = Listening(self._world.reachable(), self._listening_since)
        devices = self._sessions.of(rollout, listening)
        return replace(rollout, devices=devices, seen=self._seen.get(rollout.id))

    def _source(self, release: ReleaseName, slot: SlotName) -> ReleaseSource:
        found = next((each for each in self._world.releases() if each.name == release), None)
        if not found:
            raise NotKnown(f"release {release} is not listed", hint="see `sealane release list`")
        anywhere = ANY_SLOT in found.slots and slot != AGENT_SLOT
        if not anywhere and slot not in found.slots:
            allowed = ", ".join(found.slots) or "none"
            raise Refused(f"{release} may not serve in slot {slot}; its slots are {allowed}")
        return ReleaseSource(found.name, found.manifest, found.length)

    # What goes out after a commit

    def _tell(self, changed: Changed) -> None:
        for news in changed.generations.items():
            self._told.put(news)

    def _spread(self, generations: Mapping[DeviceId, int]) -> int:
        """Tell devices at once that there is something new; returns how many."""
        for news in generations.items():
            self._told.put(news)
        self._dirty.set()
        self.wake()
        return len(generations)

    def _deliver(self) -> None:
        if self._dirty.is_set():
            self._dirty.clear()
            self._revision += 1
            self._changed.set()
            self._changed = asyncio.Event()
        try:
            while True:
                self._world.notify(*self._told.get_nowait())
        except Empty:
            pass

    def _show(self, rollout: Rollout, revision: int) -> None:
        """Let watchers know when something that they can see has changed since this revision."""
        still = replace(rollout, seen=None, devices=())
        shown, since = self._shown.get(rollout.id, (None, 0))
        if shown != still or self._store.rollouts.moved_since(rollout.id, since) != frozenset():
            self._dirty.set()
        self._shown[rollout.id] = still, revision
        if rollout.ended_at:
            self._shown.pop(rollout.id, None)


def _check_reason(reason: str) -> None:
    if len(reason) > MAX_REASON:
        raise Refused(f"a reason has at most {MAX_REASON} characters, this has {len(reason)}")


def new_id() -> str:
    """An id for a new rollout; the order of its devices follows from it."""
    return f"r-{secrets.token_hex(4)}"


async def _to_its_end(call: Callable[[datetime], None], now: datetime) -> None:
    """Run in a thread; who is cancelled meanwhile waits, so that the store is closed after it."""
    running = asyncio.create_task(asyncio.to_thread(call, now))
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running})
        raise
