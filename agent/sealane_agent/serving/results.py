"""Says how an attempt that brought no answer is called, by routing and by telemetry. Pure."""

from __future__ import annotations

from typing import Final

from sealane.telemetry.types import ErrorKind

from sealane_agent.serving.routing import Result
from sealane_agent.serving.types import (
    Expired,
    InvalidInference,
    ModelFailed,
    Overloaded,
    ServingError,
    WorkerDied,
    WorkerHung,
)

_RESULTS: Final[tuple[tuple[type[ServingError], Result], ...]] = (
    (InvalidInference, Result.REFUSED),
    (ModelFailed, Result.FAILED),
    (Overloaded, Result.OVERLOADED),
    (Expired, Result.EXPIRED),
    (WorkerDied, Result.DIED),
    (WorkerHung, Result.HUNG),
)
KINDS: Final = {
    Result.REFUSED: ErrorKind.REFUSED,
    Result.FAILED: ErrorKind.FAILED,
    Result.OVERLOADED: ErrorKind.OVERLOADED,
    Result.EXPIRED: ErrorKind.EXPIRED,
    Result.DIED: ErrorKind.CRASHED,
    Result.HUNG: ErrorKind.HUNG,
}


def result_of(error: ServingError) -> Result:
    """How a place's error is called."""
    return next(result for kind, result in _RESULTS if isinstance(error, kind))
