"""What a failure says: where, what, whether trying again helps, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FailureKind(StrEnum):
    """Whether trying again helps."""

    PERMANENT = "permanent"
    """The same bytes will fail again: quarantine them."""
    TRANSIENT = "transient"
    """The network, a timeout: try again."""
    ENVIRONMENTAL = "environmental"
    """This device, now: disk, memory, a missing runtime. Nothing is wrong with the release."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One typed failure.

    Attributes:
        kind: whether trying again helps.
        phase: state of the agent in which it happened (`fetching`, `staged`, `probation`, …).
        component: part that failed (`verifier`, `store`, `runtime`, `endpoint`, …).
        element: the thing it failed on (a digest, a variant, a path).
        message: one sentence.
        hint: what to do next; may be empty.
    """

    kind: FailureKind
    phase: str
    component: str
    element: str
    message: str
    hint: str = ""
