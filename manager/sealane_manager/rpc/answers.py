"""Which gRPC status an error is, on both sides: the manager aborts with it, the client reads it.

The hint travels beside the status as trailing metadata.
"""

from __future__ import annotations

import errno
import logging
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final

import grpc
from sealane.errors import BundleError, InvalidName, ReceiptError, SealaneError, TrustError

from sealane_manager.errors import NoSpace, NotAllowed, NotKnown, Refused, Unreachable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

_log = logging.getLogger(__name__)

HINT_KEY: Final = "sealane-hint-bin"

_STATUS: Final[tuple[tuple[type[SealaneError], grpc.StatusCode], ...]] = (
    (NotAllowed, grpc.StatusCode.PERMISSION_DENIED),
    (Refused, grpc.StatusCode.FAILED_PRECONDITION),
    (TrustError, grpc.StatusCode.FAILED_PRECONDITION),
    (NotKnown, grpc.StatusCode.NOT_FOUND),
    (NoSpace, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (InvalidName, grpc.StatusCode.INVALID_ARGUMENT),
    (BundleError, grpc.StatusCode.INVALID_ARGUMENT),
    (ReceiptError, grpc.StatusCode.INVALID_ARGUMENT),
    (SealaneError, grpc.StatusCode.INVALID_ARGUMENT),
)

_ERRORS: Final[dict[grpc.StatusCode, type[SealaneError]]] = {
    grpc.StatusCode.FAILED_PRECONDITION: Refused,
    grpc.StatusCode.PERMISSION_DENIED: NotAllowed,
    grpc.StatusCode.UNAUTHENTICATED: NotAllowed,
    grpc.StatusCode.NOT_FOUND: NotKnown,
    grpc.StatusCode.RESOURCE_EXHAUSTED: NoSpace,
    grpc.StatusCode.UNAVAILABLE: Unreachable,
    grpc.StatusCode.DEADLINE_EXCEEDED: Unreachable,
}


@asynccontextmanager
async def answering(context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[None]:
    """Answer Sealane's errors with their status; anything else is a bug and says only that."""
    try:
        yield
    except SealaneError as error:
        await refuse(context, status_of(error), error)
    except OSError as error:
        await _answer_trouble(context, error)
    except grpc.aio.AbortError:
        raise
    except Exception:  # noqa: BLE001 - the caller must not read a stack trace; the log has it
        _log.exception("a call failed")
        await context.abort(grpc.StatusCode.INTERNAL, "the manager failed; its log says why")


async def _answer_trouble(context: grpc.aio.ServicerContext[Any, Any], error: OSError) -> None:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "the manager's disk is full")
    _log.error("the manager's disk failed", exc_info=error)
    await context.abort(grpc.StatusCode.INTERNAL, "the manager's disk failed; its log says why")


async def refuse(
    context: grpc.aio.ServicerContext[Any, Any], status: grpc.StatusCode, error: SealaneError
) -> None:
    """End a call with a status, the error's sentence and its hint."""
    hint = ((HINT_KEY, error.hint.encode()),) if error.hint else ()
    await context.abort(status, str(error), hint)


def status_of(error: SealaneError) -> grpc.StatusCode:
    """The status of an error."""
    return next(status for kind, status in _STATUS if isinstance(error, kind))


@contextmanager
def understood(address: str) -> Iterator[None]:
    """Turn a status from the manager at `address` back into Sealane's errors."""
    try:
        yield
    except grpc.RpcError as error:
        raise _error_of(error, address) from error


def _error_of(error: grpc.RpcError, address: str) -> SealaneError:
    status, text = error.code(), error.details() or ""
    kind = _ERRORS.get(status, SealaneError)
    if kind is Unreachable:
        return Unreachable(
            f"the manager at {address} does not answer ({text})",
            hint="is `sealane serve` running, and is the context's address right?",
        )
    return kind(text or str(status), hint=_hint_of(error))


def _hint_of(error: grpc.RpcError) -> str:
    hints = [item.value for item in error.trailing_metadata() or () if item.key == HINT_KEY]
    return bytes(hints[0]).decode(errors="replace") if hints else ""
