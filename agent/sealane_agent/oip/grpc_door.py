"""The gRPC door: parse, ask the dataplane, write; errors become status codes."""

from __future__ import annotations

import logging
import time
from math import inf
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio

from sealane_agent.oip.grpc_codec import Computed, encode_infer
from sealane_agent.oip.grpc_pages import GrpcHealth, GrpcPages
from sealane_agent.oip.grpc_plans import Answers, Plans, read_infer
from sealane_agent.oip.http import CONNECTIONS
from sealane_agent.oip.http_reader import BODY_BYTES
from sealane_agent.oip.parameters import terms_of
from sealane_agent.oip.wire import open_inference_pb2 as wire
from sealane_agent.serving.types import (
    Expired,
    InvalidInference,
    ModelFailed,
    ModelUnknown,
    NotAllowed,
    NotReady,
    NotSupported,
    Overloaded,
    ServingError,
    WorkerDied,
    WorkerHung,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sealane_agent.oip.extensions import Extensions
    from sealane_agent.oip.grpc_pages import Context, Method
    from sealane_agent.oip.grpc_plans import Asked
    from sealane_agent.oip.parameters import Source
    from sealane_agent.serving.types import Tensor

MESSAGE_BYTES: Final = BODY_BYTES
"""One request: as much as a body of the REST door; gRPC's own default refuses images."""

CALLS: Final = 1024
"""Calls at once: each may hold a message."""

PING_S: Final = 10
"""Clients may send keepalive pings this often without being sent away."""

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_allowed_incoming_connections", CONNECTIONS),
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", PING_S * 1000),
)
_CODES: Final[dict[type[ServingError], grpc.StatusCode]] = {
    InvalidInference: grpc.StatusCode.INVALID_ARGUMENT,
    ModelUnknown: grpc.StatusCode.NOT_FOUND,
    NotReady: grpc.StatusCode.UNAVAILABLE,
    Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Expired: grpc.StatusCode.DEADLINE_EXCEEDED,
    NotAllowed: grpc.StatusCode.PERMISSION_DENIED,
    NotSupported: grpc.StatusCode.UNIMPLEMENTED,
    ModelFailed: grpc.StatusCode.INTERNAL,
    WorkerDied: grpc.StatusCode.UNAVAILABLE,
    WorkerHung: grpc.StatusCode.UNAVAILABLE,
}

_GRPC_LOG: Final = "grpc._cython.cygrpc"


def _is_news(record: logging.LogRecord) -> bool:
    """An answer that finds its client gone is none, although gRPC logs its whole stack."""
    return "ExecuteBatchError" not in record.getMessage()


def make_server(shared: Extensions) -> grpc.aio.Server:
    """A server that listens nowhere yet."""
    logging.getLogger(_GRPC_LOG).addFilter(_is_news)
    server = grpc.aio.server(options=_OPTIONS, maximum_concurrent_rpcs=CALLS)
    door = GrpcDoor(shared)
    health = GrpcHealth(shared.dataplane)
    server.add_generic_rpc_handlers((door.handlers(), health.handlers()))
    return server


class GrpcDoor:
    """Answers gRPC calls from the dataplane."""

    def __init__(self, shared: Extensions) -> None:
        self._shared = shared
        self._dataplane = shared.dataplane
        self._pages = GrpcPages(shared)
        self._plans = Plans()
        self._answers = Answers()

    def handlers(self) -> grpc.GenericRpcHandler[Any, Any]:
        """The service's methods by name."""
        service = wire.DESCRIPTOR.services_by_name["GRPCInferenceService"]
        methods: dict[str, Method] = {
            described.name: self._pages.method(described) for described in service.methods
        }
        handlers = {
            described.name: _handler(
                methods[described.name], getattr(wire, described.input_type.name).FromString
            )
            for described in service.methods
        }
        handlers["ModelInfer"] = _handler(self._model_infer)
        handlers["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(
            self._model_stream_infer,
            request_deserializer=wire.ModelInferRequest.FromString,
            response_serializer=_serialize,
        )
        return grpc.method_handlers_generic_handler(service.full_name, handlers)

    async def _model_infer(self, message: bytes, context: Context) -> bytes:
        asked = self._plans.decode(message, self._finder(context))
        answer, outputs = await self._infer(asked, context, context.time_remaining())
        return self._answers.encode(answer, asked.decoded.wish, outputs)

    def _finder(self, context: Context) -> Callable[[str], Source]:
        return lambda name: self._shared.regions.find(context.peer(), name)

    async def _infer(
        self, asked: Asked, context: Context, left_s: float | None
    ) -> tuple[Computed, tuple[Tensor, ...]]:
        model, version, request_id, (inference, wish, wanted) = asked
        if left_s is not None or wanted.timeout_us or wanted.priority:
            now = time.monotonic()
            deadline = inf if left_s is None else now + left_s
            inference = inference._replace(terms=terms_of(wanted, now, deadline))
        pointer, outputs, arm = await self._dataplane.infer(model, version, inference)
        if not wish.plain:
            outputs = self._shared.formed((model, context.peer()), wish, outputs)
        return Computed(model, pointer.release.version, request_id, arm), outputs

    async def _model_stream_infer(
        self, requests: AsyncIterator[wire.ModelInferRequest], context: Context
    ) -> AsyncIterator[wire.ModelStreamInferResponse]:
        """One answer to each request, in their order; an error ends only its own request."""
        strict = ("triton_grpc_error", "true") in (context.invocation_metadata() or ())
        async for request in requests:
            try:
                asked = read_infer(request, self._finder(context))
                answer, outputs = await self._infer(asked, context, None)
            except ServingError as error:
                if strict:
                    await context.abort(code_of(error), told(error))
                # Text, always: without it the client believes that it went well.
                yield _failure(request, told(error))
            else:
                response = encode_infer(answer, outputs, asked.decoded.wish)
                yield wire.ModelStreamInferResponse(infer_response=response)
                if _wants_an_end(request):
                    yield _end(request)


def _failure(request: wire.ModelInferRequest, text: str) -> wire.ModelStreamInferResponse:
    response = wire.ModelStreamInferResponse(error_message=text or "the request failed")
    response.infer_response.model_name = request.model_name
    response.infer_response.id = request.id
    return response


def _wants_an_end(request: wire.ModelInferRequest) -> bool:
    parameter = request.parameters.get("triton_enable_empty_final_response")
    return parameter is not None and parameter.bool_param


def _end(request: wire.ModelInferRequest) -> wire.ModelStreamInferResponse:
    response = wire.ModelStreamInferResponse()
    response.infer_response.model_name = request.model_name
    response.infer_response.id = request.id
    response.infer_response.parameters["triton_final_response"].bool_param = True
    return response


def _serialize(response: Any) -> bytes:
    content: bytes = response.SerializeToString()
    return content


def _handler(
    method: Method, read: Callable[[bytes], Any] | None = None
) -> grpc.RpcMethodHandler[Any, Any]:
    """A method by its messages, or without `read` by their bytes."""

    async def answer(request: Any, context: Context) -> Any:
        try:
            return await method(request, context)
        except ServingError as error:
            await context.abort(code_of(error), told(error))

    return grpc.unary_unary_rpc_method_handler(
        answer,
        request_deserializer=read,
        response_serializer=None if read is None else _serialize,
    )


def told(error: ServingError) -> str:
    """What a client reads."""
    return f"{error} ({error.hint})" if error.hint else str(error)


def code_of(error: ServingError) -> grpc.StatusCode:
    """How gRPC calls it."""
    known = (code for kind, code in _CODES.items() if isinstance(error, kind))
    return next(known, grpc.StatusCode.INTERNAL)
