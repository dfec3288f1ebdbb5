"""The values of the agent's state machine: what is recorded, what is seen, what can be done."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC
from enum import StrEnum
from typing import TYPE_CHECKING

from sealane.bundle.types import ProbationLimits
from sealane.policy import ANY_TIME, Policy

from sealane_agent.layout import Pointer
from sealane_agent.serving.messages import Traffic

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, tzinfo

    from sealane.failure import Failure
    from sealane.holds import Hold
    from sealane.names import Digest, ReleaseName, SlotName
    from sealane.trust.documents import Quarantined, SlotAssignment

    from sealane_agent.serving.messages import Proved, SlotStatus

    Key = tuple[SlotName, Digest, str, int]


class State(StrEnum):
    """Where a slot stands."""

    IDLE = "idle"
    ACCEPTED = "accepted"
    FETCHING = "fetching"
    STAGED = "staged"
    WAITING = "waiting"
    SHADOW = "shadow"
    ACTIVATING = "activating"
    PROBATION = "probation"
    COMMITTED = "committed"
    FAILED = "failed"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"
    QUARANTINED = "quarantined"
    SAFE_MODE = "safe_mode"


ENDED = frozenset(
    {State.COMMITTED, State.FAILED, State.ROLLED_BACK, State.QUARANTINED, State.SAFE_MODE}
)
"""States in which an attempt stays until the director wants something else."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The variant that won at staging, and the worker that proved it.

    `degraded`: why no variant for an accelerator did, of those that the device could have run.
    `hardware`: class of devices on which it won against the bundle's others; empty where this
    device has not compared them.
    `why`: it won, for people; empty in what earlier versions wrote.
    """

    variant: str
    runtime: str
    accelerator: str
    precision: str
    proved: Proved
    degraded: str = ""
    hardware: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to bring one release into one slot; the journal keeps the last one of each slot.

    Attributes:
        slot, manifest, rollout, number: together they name the attempt; the number counts those of
            its rollout, from 0.
        since: trusted time at which it entered `state`.
        fetched: every blob it needs is in the store.
        choice: None until it is staged.
        limits: of its probation, as its bundle says.
        restarts: how often it was resumed or staged anew after something died.
        retries, retry_at: transient failures so far, and when to try again.
        traffic: counted when it was last judged.
        failure: why it ended, or what it is retrying.
        policy, lease_until: as the director said last; they hold offline and over restarts.
        boot, staged_in: of the machine when it first waited, and when its worker was proved.
    """

    slot: SlotName
    release: ReleaseName
    manifest: Digest
    rollout: str
    state: State
    since: datetime
    fetched: bool = False
    choice: Choice | None = None
    limits: ProbationLimits = field(default_factory=ProbationLimits)
    restarts: int = 0
    retries: int = 0
    retry_at: datetime | None = None
    traffic: Traffic = field(default_factory=Traffic)
    failure: Failure | None = None
    policy: Policy = ANY_TIME
    lease_until: datetime | None = None
    boot: str = ""
    staged_in: str = ""
    number: int = 0

    @property
    def key(self) -> Key:
        """What names the attempt."""
        return self.slot, self.manifest, self.rollout, self.number

    @property
    def pointer(self) -> Pointer | None:
        """What the slot's pointers say when this attempt serves; None until it is staged."""
        if self.choice is None:
            return None
        return Pointer(self.release, self.manifest, self.choice.variant)


@dataclass(frozen=True, slots=True)
class SlotRecord:
    """What the journal says of a slot.

    Attributes:
        attempt: the last one, open or ended; None before the first and after one was given up.
        committed: the one that was kept last.
        before: the one that was kept before it and might serve again.
        quarantined: digests that this device does not try again, with the reason.
        ordered: releases that the manager put into quarantine, by digest.
    """

    slot: SlotName
    attempt: Attempt | None = None
    committed: Attempt | None = None
    before: Attempt | None = None
    quarantined: Mapping[Digest, str] = field(default_factory=dict)
    ordered: Mapping[Digest, Quarantined] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RollBack:
    """Somebody at the device wants the release before."""

    owner: str
    reason: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the director wants in a slot, and why the device refuses it, if it does."""

    assignment: SlotAssignment
    refusal: Failure | None = None

    @property
    def key(self) -> Key:
        """What names the attempt that is wanted."""
        asked = self.assignment
        return asked.slot, asked.manifest, asked.rollout, asked.attempt


@dataclass(frozen=True, slots=True)
class Observed:
    """What is true now, outside the journal.

    Attributes:
        heard: a director document was accepted since this supervisor started; without one, no
            assignment means that nobody knows, not that nothing is wanted.
        active, lkg: the slot's pointers on disk.
        serving: what the endpoint does; None while it does not answer.
        in_state_s: how long this supervisor has seen the attempt in its state, monotonic.
        holds: those that concern the slot, ended ones among them.
        zone: of the device.
        quiet_s: how long nobody has asked the slot anything, as far as this supervisor has seen.
        boot: of the machine.
        told: the manager has stored everything that this device said.
        spare: what was kept before the last known good model, while its files are here.
        go_back: ordered at the device, and not done yet.
        degraded: why what serves is on the CPU and not where it should be; empty when it is.
        chosen: which variant serves and why; empty where nobody knows.
    """

    heard: bool
    active: Pointer | None
    lkg: Pointer | None
    serving: SlotStatus | None
    in_state_s: float = 0.0
    holds: tuple[Hold, ...] = ()
    zone: tzinfo = UTC
    quiet_s: float = 0.0
    boot: str = ""
    told: bool = True
    spare: Pointer | None = None
    go_back: RollBack | None = None
    degraded: str = ""
    chosen: str = ""


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to do now."""


@dataclass(frozen=True, slots=True)
class AskDocument:
    """Ask the manager for a new director document: the lease has run out."""


@dataclass(frozen=True, slots=True)
class Enter:
    """Journal this attempt as it is now, and tell the manager.

    `receipt` is the verdict to sign in the same transaction; empty means none. `quarantine` puts
    the digest away. `to_before`: what was kept before is the last known good one again.
    """

    attempt: Attempt
    receipt: str = ""
    quarantine: bool = False
    to_before: bool = False


@dataclass(frozen=True, slots=True)
class Remember:
    """Journal what the attempt may do from now on; it goes nowhere, and nobody is told."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Forget an attempt that left nothing: another is wanted, or the order that ended it ended."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Fetch:
    """Bring every blob that the attempt needs into the store."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Stage:
    """Hash every blob again, measure the eligible variants, keep the best proved one warm.

    `interrupts`: what serves may end before it, where there is no memory for both.
    """

    attempt: Attempt
    interrupts: bool = False


@dataclass(frozen=True, slots=True)
class SetPointer:
    """Flip one of the slot's pointers durably; None takes it away."""

    which: str
    pointer: Pointer | None


@dataclass(frozen=True, slots=True)
class Mirror:
    """Let the endpoint give this worker copies of the slot's requests."""

    worker: str


@dataclass(frozen=True, slots=True)
class Switch:
    """Let the endpoint send the slot's requests, or a share, to this worker, on probation."""

    worker: str
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Settle:
    """Let the endpoint end the probation."""


@dataclass(frozen=True, slots=True)
class Restore:
    """Let the endpoint serve this again, by the warm previous worker or by loading it."""

    pointer: Pointer


@dataclass(frozen=True, slots=True)
class DropWorkers:
    """Stop workers that no attempt needs, or that shall not serve any more."""

    workers: tuple[str, ...]


Action = (
    Rest
    | AskDocument
    | Enter
    | Remember
    | GiveUp
    | Fetch
    | Stage
    | SetPointer
    | Mirror
    | Switch
    | Settle
    | Restore
    | DropWorkers
)
