from __future__ import annotations

import asyncio
import errno
from typing import Any, NamedTuple

import grpc
import pytest
from sealane.errors import BundleError, InvalidName, SealaneError, TrustError
from sealane_manager.errors import NoSpace, NotAllowed, NotKnown, Refused, Unreachable
from sealane_manager.rpc.answers import HINT_KEY, answering, understood

STATUS = grpc.StatusCode


class FakeContext:
    """A call as its handler sees it; `gone` means that the caller is no longer there."""

    def __init__(self, *, gone: bool = False) -> None:
        self._gone = gone
        self.ended: tuple[grpc.StatusCode, str, dict[str, bytes]] | None = None

    async def abort(
        self, status: grpc.StatusCode, text: str, trailing: tuple[tuple[str, bytes], ...] = ()
    ) -> None:
        if self._gone:
            raise grpc.aio.InternalError("the stream is closed")
        self.ended = (status, text, dict(trailing))
        raise grpc.aio.AbortError("Locally aborted.")


class FakeRpcError(grpc.RpcError):
    """What a client gets."""

    def __init__(self, status: grpc.StatusCode, text: str, hint: str = "") -> None:
        super().__init__()
        self._answer = status, text, hint

    def code(self) -> grpc.StatusCode:
        return self._answer[0]

    def details(self) -> str:
        return self._answer[1]

    def trailing_metadata(self) -> Any:
        hint = self._answer[2]
        return (Item(HINT_KEY, hint.encode()),) if hint else ()


class Item(NamedTuple):
    """One entry of a call's metadata."""

    key: str
    value: bytes


def answer_to(error: Exception, context: FakeContext) -> None:
    async def call() -> None:
        async with answering(context):  # type: ignore[arg-type]  # the part of it that is used
            raise error

    asyncio.run(call())


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Refused("no"), STATUS.FAILED_PRECONDITION),
        (NotAllowed("no"), STATUS.PERMISSION_DENIED),
        (TrustError("1 root chain", "no"), STATUS.FAILED_PRECONDITION),
        (NotKnown("no"), STATUS.NOT_FOUND),
        (NoSpace("no"), STATUS.RESOURCE_EXHAUSTED),
        (InvalidName("no"), STATUS.INVALID_ARGUMENT),
        (BundleError("no"), STATUS.INVALID_ARGUMENT),
        (SealaneError("no"), STATUS.INVALID_ARGUMENT),
        (OSError(errno.ENOSPC, "No space left on device"), STATUS.RESOURCE_EXHAUSTED),
    ],
)
def test_each_error_has_its_status(error: Exception, status: grpc.StatusCode) -> None:
    context = FakeContext()
    with pytest.raises(grpc.aio.AbortError):
        answer_to(error, context)
    assert context.ended is not None
    assert context.ended[0] is status


def test_a_hint_travels_beside_the_sentence() -> None:
    context = FakeContext()
    with pytest.raises(grpc.aio.AbortError):
        answer_to(Refused("it is closed", hint="öffne es"), context)
    assert context.ended == (
        STATUS.FAILED_PRECONDITION,
        "it is closed",
        {HINT_KEY: "öffne es".encode()},
    )


def test_a_bug_is_logged_and_the_caller_reads_no_stack_trace(
    caplog: pytest.LogCaptureFixture,
) -> None:
    context = FakeContext()
    with pytest.raises(grpc.aio.AbortError):
        answer_to(ZeroDivisionError("in /secret/path"), context)
    assert context.ended is not None
    assert context.ended[0] is STATUS.INTERNAL
    assert "secret" not in context.ended[1]
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("error", [Refused("no"), grpc.aio.InternalError("the stream is closed")])
def test_a_caller_that_has_gone_is_nobodys_error(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(asyncio.CancelledError):
        answer_to(error, FakeContext(gone=True))
    assert caplog.records == []


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (STATUS.FAILED_PRECONDITION, Refused),
        (STATUS.PERMISSION_DENIED, NotAllowed),
        (STATUS.NOT_FOUND, NotKnown),
        (STATUS.RESOURCE_EXHAUSTED, NoSpace),
        (STATUS.UNAVAILABLE, Unreachable),
        (STATUS.DEADLINE_EXCEEDED, Unreachable),
        (STATUS.INVALID_ARGUMENT, SealaneError),
        (STATUS.INTERNAL, SealaneError),
    ],
)
def test_each_status_is_an_error_again_on_the_other_side(
    status: grpc.StatusCode, kind: type[SealaneError]
) -> None:
    with pytest.raises(SealaneError) as caught, understood("manager:7445"):
        raise FakeRpcError(status, "the sentence")
    assert type(caught.value) is kind
    assert "the sentence" in str(caught.value)


def test_the_hint_comes_back_with_the_error() -> None:
    with pytest.raises(Refused) as caught, understood("manager:7445"):
        raise FakeRpcError(STATUS.FAILED_PRECONDITION, "it is closed", "open it")
    assert caught.value.hint == "open it"
