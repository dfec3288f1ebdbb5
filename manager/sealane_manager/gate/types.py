"""The values of a gate's evidence: what is checked, what was seen, what follows."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from sealane_manager.gate.odds import Bets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sealane_manager.gate.difference import Unit
    from sealane_manager.gate.mix import Mix
    from sealane_manager.gate.odds import Split
    from sealane_manager.gate.outcomes import Outcomes
    from sealane_manager.gate.shift import Predicted


class Kind(StrEnum):
    """What a check looks at."""

    OUTCOMES = "device_outcome"
    """Devices on which the release could not be brought to serve."""
    AFTERWARDS = "after_activation"
    """Devices on which it served, and then crashed again and again or fell silent."""
    ERRORS = "error_rate"
    """Requests that it did not answer."""
    LATENCY = "latency"
    """Requests slower than the release before it was for all but a few."""
    DISAGREEMENT = "disagreement"
    """Requests on which it and the serving release answer differently (shadow)."""
    PREDICTIONS = "prediction_shift"
    """What it predicts, against what each device's model predicted before."""


class Mode(StrEnum):
    """Whether a check decides, or only says what it would have decided."""

    ENFORCE = "enforce"
    DRY_RUN = "dry_run"


class Breach(StrEnum):
    """What a breached check does."""

    FAIL = "fail"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class Check:
    """One check of a gate.

    Attributes:
        tolerate: the harm that is allowed: a factor, or for outcomes and disagreement a share.
        proceed_below: the factor that must be excluded before a stage may pass on evidence.
        breach: what happens when harm is shown.
    """

    kind: Kind
    tolerate: float
    proceed_below: float = 0.0
    mode: Mode = Mode.ENFORCE
    breach: Breach = Breach.FAIL

    @property
    def bets(self) -> Bets:
        """What this check bets on where requests are split by chance."""
        return Bets.on(self.tolerate, self.proceed_below)


CHECKS: Final = (
    Check(Kind.OUTCOMES, 0.02),
    Check(Kind.AFTERWARDS, 0.02),
    Check(Kind.ERRORS, 1.0, 2.0),
    Check(Kind.LATENCY, 1.25, 1.5),
    Check(Kind.DISAGREEMENT, 0.05),
    Check(Kind.PREDICTIONS, 0.05, breach=Breach.HOLD),
)
"""What is checked unless a rollout says otherwise."""

ALPHA: Final = 0.01
"""Chance of stopping a rollout of a good release, over all checks and stages."""


@dataclass(frozen=True, slots=True)
class Checks:
    """What a rollout's gate asks of evidence.

    Attributes:
        alpha: chance of stopping a good release, over all checks and stages together.
        prove: whether a stage passes only when harmlessness was shown, not when no harm was.
        checks: at most one of a kind; a kind that is missing is not checked.
    """

    alpha: float = ALPHA
    prove: bool = False
    checks: tuple[Check, ...] = CHECKS

    def of(self, kind: Kind) -> Check | None:
        """The check of this kind."""
        return next((check for check in self.checks if check.kind is kind), None)


@dataclass(frozen=True, slots=True)
class Arms:
    """One metric as counts of bad requests, in both ways in which it can be compared.

    Attributes:
        split: within devices that send each request to one of two releases by chance.
        treated: devices that have the release.
        control: devices that do not have it yet.
    """

    split: Split | None = None
    treated: tuple[Unit, ...] = ()
    control: tuple[Unit, ...] = ()


@dataclass(frozen=True, slots=True)
class Paired:
    """Shadow answers of one device: how many were compared, how many differed."""

    differed: int
    compared: int


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything that a gate judges at one moment of one stage; stored with the decision.

    Attributes:
        stages: how many stages the rollout has: they share the false-alarm budget.
        minutes: since the first device of the stage activated the release.
        outcomes, afterwards: by hardware class.
        classes: hardware classes in the rollout, fixed before it began.
        split: whether devices of this rollout send each request to one of two releases by chance.
        latency: by the share that the bound is for (0.5, 0.9, 0.99).
        shadow: by device.
        mix: predictions of both releases where requests are split; None without any.
        treated, control: predictions by device, until the latest look that is due.
        reporting: devices with the release whose telemetry arrives; of `active` ones.
        shock: by which factor devices without the release got worse together meanwhile.
        seed: makes permutations repeatable.
    """

    stages: int
    minutes: float
    outcomes: Mapping[str, Outcomes] = field(default_factory=dict)
    afterwards: Mapping[str, Outcomes] = field(default_factory=dict)
    classes: int = 1
    split: bool = False
    errors: Arms = field(default_factory=Arms)
    latency: Mapping[float, Arms] = field(default_factory=dict)
    shadow: tuple[Paired, ...] = ()
    mix: Mix | None = None
    treated: tuple[Predicted, ...] = ()
    control: tuple[Predicted, ...] = ()
    reporting: int = 0
    active: int = 0
    shock: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check says.

    Attributes:
        level: how far the evidence got: 0 is none, 1 is what it takes.
        words: for people, one sentence without a full stop.
        where: what is compared, where a check is made in two ways; empty otherwise.
    """

    kind: Kind
    level: float
    breached: bool
    words: str
    mode: Mode = Mode.ENFORCE
    breach: Breach = Breach.FAIL
    where: str = ""

    @property
    def name(self) -> str:
        """The check and what it compares: no two findings of a judgement have the same."""
        return f"{self.kind} {self.where}".rstrip()

    @property
    def counts(self) -> bool:
        """Whether it decides."""
        return self.breached and self.mode is Mode.ENFORCE


@dataclass(frozen=True, slots=True)
class Judgement:
    """What all checks together say.

    Attributes:
        fails: why the release must be stopped; empty when it need not.
        holds: why the stage must not pass yet; empty when it may.
        asks: what people are asked to look at, which is why it holds; empty when nothing is.
    """

    findings: tuple[Finding, ...]
    fails: str = ""
    holds: str = ""
    asks: str = ""
