"""Which gRPC status an error is, on both sides: the manager aborts with it, the client reads it.

The hint travels beside the status as trailing metadata.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final, NoReturn

import grpc
from sealane.errors import BundleError, InvalidName, ReceiptError, SealaneError, TrustError

from sealane_manager.errors import NoSpace, NotAllowed, NotKnown, Refused, Unreachable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    Context = grpc.aio.ServicerContext[Any, Any]

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
async def answering(context: Context) -> AsyncIterator[None]:
    """Answer Sealane's errors with their status; anything else is a bug and says only that.

    A caller who has gone in the middle is nobody's error: then the call counts as cancelled.
    """
    try:
        yield
    except SealaneError as error:
        hint = ((HINT_KEY, error.hint.encode()),) if error.hint else ()
        await end_call(context, status_of(error), str(error), hint)
    except grpc.aio.AbortError:
        raise
    except grpc.aio.InternalError as error:
        raise asyncio.CancelledError from error
    except OSError as error:
        await _answer_trouble(context, error)
    except Exception:  # noqa: BLE001 - the caller must not read a stack trace; the log has it
        _log.exception("a call failed")
        await end_call(context, grpc.StatusCode.INTERNAL, "the manager failed; its log says why")


async def _answer_trouble(context: Context, error: OSError) -> None:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        text = "the manager's disk is full"
        await end_call(context, grpc.StatusCode.RESOURCE_EXHAUSTED, text)
    _log.error("the manager's disk failed", exc_info=error)
    text = "the manager's disk failed; its log says why"
    await end_call(context, grpc.StatusCode.INTERNAL, text)


async def end_call(
    context: Context,
    status: grpc.StatusCode,
    text: str,
    trailing: tuple[tuple[str, bytes], ...] = (),
) -> NoReturn:
    """End a call with a status and a sentence; the caller may have gone meanwhile."""
    try:
        await context.abort(status, text, trailing)
    except grpc.aio.InternalError as error:
        raise asyncio.CancelledError from error
    raise AssertionError("abort ends the call")


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
