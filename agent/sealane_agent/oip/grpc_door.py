"""The gRPC door: parse, ask the dataplane, write; errors become status codes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio

from sealane_agent.oip import grpc_codec
from sealane_agent.oip.http_reader import BODY_BYTES
from sealane_agent.oip.rest_paths import parse_version
from sealane_agent.oip.wire import open_inference_pb2 as wire
from sealane_agent.serving.types import (
    InvalidInference,
    ModelFailed,
    ModelUnknown,
    NotReady,
    Overloaded,
    ServingError,
    WorkerDied,
    WorkerHung,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sealane_agent.serving.dataplane import Dataplane

    Method = Callable[[Any], Awaitable[Any]]

MESSAGE_BYTES: Final = BODY_BYTES
"""One request: as much as a body of the REST door; gRPC's own default refuses images."""

CALLS: Final = 1024
"""Calls at once: each may hold a message."""

PING_S: Final = 10
"""Clients may send keepalive pings this often without being sent away."""

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", PING_S * 1000),
)
_CODES: Final[dict[type[ServingError], grpc.StatusCode]] = {
    InvalidInference: grpc.StatusCode.INVALID_ARGUMENT,
    ModelUnknown: grpc.StatusCode.NOT_FOUND,
    NotReady: grpc.StatusCode.UNAVAILABLE,
    Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ModelFailed: grpc.StatusCode.INTERNAL,
    WorkerDied: grpc.StatusCode.UNAVAILABLE,
    WorkerHung: grpc.StatusCode.UNAVAILABLE,
}


def make_server(dataplane: Dataplane) -> grpc.aio.Server:
    """A server that listens nowhere yet."""
    server = grpc.aio.server(options=_OPTIONS, maximum_concurrent_rpcs=CALLS)
    server.add_generic_rpc_handlers((GrpcDoor(dataplane).handlers(),))
    return server


class GrpcDoor:
    """Answers gRPC calls from the dataplane."""

    def __init__(self, dataplane: Dataplane) -> None:
        self._dataplane = dataplane

    def handlers(self) -> grpc.GenericRpcHandler[Any, Any]:
        """The service's methods by name."""
        service = wire.DESCRIPTOR.services_by_name["GRPCInferenceService"]
        methods: dict[str, Method] = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
            "ModelInfer": self._model_infer,
            "RepositoryIndex": self._repository_index,
        }
        return grpc.method_handlers_generic_handler(
            service.full_name,
            {
                described.name: _handler(methods[described.name], described.input_type.name)
                for described in service.methods
            },
        )

    async def _server_live(self, _: wire.ServerLiveRequest) -> wire.ServerLiveResponse:
        return wire.ServerLiveResponse(live=True)

    async def _server_ready(self, _: wire.ServerReadyRequest) -> wire.ServerReadyResponse:
        return wire.ServerReadyResponse(ready=self._dataplane.all_ready)

    async def _model_ready(self, request: wire.ModelReadyRequest) -> wire.ModelReadyResponse:
        version = parse_version(request.version)
        return wire.ModelReadyResponse(ready=self._dataplane.ready(request.name, version))

    async def _server_metadata(self, _: wire.ServerMetadataRequest) -> wire.ServerMetadataResponse:
        return grpc_codec.encode_server()

    async def _model_metadata(
        self, request: wire.ModelMetadataRequest
    ) -> wire.ModelMetadataResponse:
        version = parse_version(request.version)
        return grpc_codec.encode_model(self._dataplane.describe(request.name, version))

    async def _model_infer(self, request: wire.ModelInferRequest) -> wire.ModelInferResponse:
        version = parse_version(request.model_version)
        inference = grpc_codec.decode_infer(request)
        pointer, outputs = await self._dataplane.infer(request.model_name, version, inference)
        return grpc_codec.encode_infer(request, pointer.release.version, outputs)

    async def _repository_index(
        self, request: wire.RepositoryIndexRequest
    ) -> wire.RepositoryIndexResponse:
        listed = self._dataplane.index()
        return grpc_codec.encode_index(x for x in listed if x.ready or not request.ready)


def _handler(method: Method, request_name: str) -> grpc.RpcMethodHandler[Any, Any]:
    async def answer(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        try:
            return await method(request)
        except ServingError as error:
            text = f"{error} ({error.hint})" if error.hint else str(error)
            await context.abort(_code(error), text)

    return grpc.unary_unary_rpc_method_handler(
        answer,
        request_deserializer=getattr(wire, request_name).FromString,
        response_serializer=lambda response: response.SerializeToString(),
    )


def _code(error: ServingError) -> grpc.StatusCode:
    known = (code for kind, code in _CODES.items() if isinstance(error, kind))
    return next(known, grpc.StatusCode.INTERNAL)
