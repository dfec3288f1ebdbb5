"""Lets operators in: by certificate, role and site, at each call and as long as it lasts.

Every method of the operators' port goes through here before its service sees it, so a service asks
`asked` what its caller wants and never who that is or whether he may.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import grpc

from sealane_manager.errors import NotAllowed
from sealane_manager.people.methods import named
from sealane_manager.rpc.answers import answering
from sealane_manager.store.records import OperatorCertificate

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from sealane_manager.people.access import Who
    from sealane_manager.people.certificates import Certificates
    from sealane_manager.rpc.peers import Caller, Door
    from sealane_manager.rpc.places import Places

    Context = grpc.aio.ServicerContext[Any, Any]
    Handler = grpc.RpcMethodHandler[Any, Any]

Answer = TypeVar("Answer")

TICK_S: Final = 0.5
"""How long a call goes on at most after its caller may no longer make it."""

_ASKING: Final[ContextVar[Who]] = ContextVar("asking")
_END: Final = object()


def asking() -> Who:
    """Who calls; raises LookupError outside of a call that was let in."""
    return _ASKING.get()


async def asked(question: Callable[[Who], Answer]) -> Answer:
    """The answer to what the caller asks, worked out in a thread."""
    return await asyncio.to_thread(question, asking())


@dataclass(slots=True)
class _Visit:
    """A call that was let in; `due` is when it is looked at again, on the loop's clock."""

    caller: Caller
    who: Who
    due: float


class OperatorDoor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in stubs alone
    """Stands before the services of the operators' port."""

    def __init__(self, door: Door, certificates: Certificates, places: Places) -> None:
        self._door, self._certificates, self._places = door, certificates, places

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """The handler of a method, behind the door."""
        handler: Handler = await continuation(handler_call_details)
        if not handler:
            return handler  # gRPC answers that there is no such method
        method = named(handler_call_details.method)
        wires = handler.request_deserializer, handler.response_serializer
        if handler.unary_unary:
            behind = self._asked(method, handler.unary_unary)
            return grpc.unary_unary_rpc_method_handler(behind, *wires)
        if handler.unary_stream:
            behind = self._read(method, handler.unary_stream)
            return grpc.unary_stream_rpc_method_handler(behind, *wires)
        behind = self._sent(method, handler.stream_unary)
        return grpc.stream_unary_rpc_method_handler(behind, *wires)

    def _asked(self, method: str, answer: Any) -> Any:
        async def behind(request: Any, context: Context) -> Any:
            async with answering(context):
                await self._let_in(method, request, context)
                return await answer(request, context)

        return behind

    def _read(self, method: str, answer: Any) -> Any:
        async def behind(request: Any, context: Context) -> AsyncIterator[Any]:
            async with answering(context):
                visit = await self._let_in(method, request, context)
                async with aclosing(answer(request, context)) as parts:
                    async for part in self._parts(visit, parts):
                        yield part

        return behind

    def _sent(self, method: str, take: Any) -> Any:
        async def behind(requests: Any, context: Context) -> Any:
            async with answering(context):
                visit = await self._let_in(method, None, context)
                return await self._meanwhile(visit, take(requests, context))

        return behind

    async def _let_in(self, method: str, request: Any, context: Context) -> _Visit:
        caller = self._door.admit(context)
        who = await asyncio.to_thread(self._judged, caller, method, request)
        _ASKING.set(who)
        return _Visit(caller, who, asyncio.get_running_loop().time() + TICK_S)

    def _judged(self, caller: Caller, method: str, request: Any) -> Who:
        who = self._who(caller)
        self._places.check(who, method, request)
        return who

    def _who(self, caller: Caller) -> Who:
        key, issued = caller.shown.key.fingerprint, caller.shown.issued
        return self._certificates.who(
            OperatorCertificate(key, caller.name, issued, "", caller.expires)
        )

    async def _parts(self, visit: _Visit, parts: AsyncGenerator[Any]) -> AsyncIterator[Any]:
        """What the service sends, until it ends or the caller may not read it any more."""
        while (part := await self._meanwhile(visit, anext(parts, _END))) is not _END:
            yield part

    async def _meanwhile(self, visit: _Visit, work: Awaitable[Any]) -> Any:
        """What comes of it; raises NotAllowed as soon as the caller may not wait for it."""
        task, loop = asyncio.ensure_future(work), asyncio.get_running_loop()
        try:
            while True:
                await asyncio.wait({task}, timeout=max(0.0, visit.due - loop.time()))
                if loop.time() >= visit.due:
                    await self._look_again(visit)
                    visit.due = loop.time() + TICK_S
                if task.done():
                    return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
            if not task.cancelled():
                task.exception()  # known now, also where the caller went before it could be told

    async def _look_again(self, visit: _Visit) -> None:
        self._door.check(visit.caller)
        if await asyncio.to_thread(self._who, visit.caller) != visit.who:
            raise NotAllowed(f"what {visit.who.name} may do has changed", hint="ask again")
