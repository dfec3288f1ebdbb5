"""What the endpoint tells a worker that it has just started, and the one answer it gets.

Each is one JSON object in one packet of the socket pair between the two.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from sealane.failure import Failure, FailureKind

from sealane_agent.serving.messages import Bar
from sealane_agent.serving.ring import Handles
from sealane_agent.serving.types import LoadFailed

PACKET_BYTES: Final = 64 * 1024
"""One packet: far below what the kernel lets through a socket pair."""


@dataclass(frozen=True, slots=True)
class Order:
    """Load this variant and answer through this ring.

    Attributes:
        view: the bundle's files under their own names.
        variant: name in its deployment.json.
        ring, bodies: descriptors that the worker has inherited; the memory of bodies it may read.
        steps_back: nobody waits for it: it goes behind the workers that answer.
        bar: what it must beat to be measured to the end.
    """

    view: Path
    variant: str
    ring: Handles
    bodies: int
    steps_back: bool = False
    bar: Bar = field(default_factory=Bar)

    def encode(self) -> bytes:
        """One packet."""
        return json.dumps(asdict(self) | {"view": str(self.view)}).encode()

    @classmethod
    def decode(cls, packet: bytes) -> Order:
        """Read an order; raises ValueError, KeyError or TypeError."""
        fields: dict[str, Any] = json.loads(packet)
        handles = Handles(**fields["ring"])
        view, variant, bar = Path(fields["view"]), fields["variant"], Bar(**fields["bar"])
        return cls(view, variant, handles, fields["bodies"], fields["steps_back"], bar)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a worker measured while it proved its model; units as in `messages.Proved`.

    Attributes:
        peak_bytes: the most that it held until then.
    """

    runtime_version: str
    golden_max_error: float
    latency_us: int
    memory_bytes: int
    peak_bytes: int = 0
    p95_us: int = 0
    rows_per_s: float = 0.0
    given_up: bool = False


Answer = Evidence | Failure


def encode_answer(answer: Answer) -> bytes:
    """One packet."""
    key = "proved" if isinstance(answer, Evidence) else "failure"
    return json.dumps({key: asdict(answer)}).encode()


def decode_answer(packet: bytes) -> Answer:
    """Read an answer; raises ValueError, KeyError or TypeError."""
    fields: dict[str, Any] = json.loads(packet)
    if "proved" in fields:
        return Evidence(**fields["proved"])
    failure = fields["failure"]
    return Failure(**failure | {"kind": FailureKind(failure["kind"])})


def load_failed(kind: FailureKind, component: str, element: str, error: Exception) -> LoadFailed:
    """A typed failure of the state in which workers load, told by an exception."""
    message, hint = str(error) or type(error).__name__, getattr(error, "hint", "")
    return LoadFailed(Failure(kind, "staged", component, element, message, hint))
