"""Everything that the gRPC door answers besides inference: the protocol's pages, gRPC's health."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import grpc

from sealane_agent.oip import description
from sealane_agent.oip.grpc_codec import encode, values
from sealane_agent.oip.rest_paths import parse_version
from sealane_agent.oip.wire import health_pb2 as health
from sealane_agent.oip.wire import open_inference_pb2 as wire
from sealane_agent.serving.types import ModelUnknown, NotSupported

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from sealane_agent.oip.extensions import Extensions
    from sealane_agent.serving.dataplane import Dataplane

    Context = grpc.aio.ServicerContext[Any, Any]
    Method = Callable[[Any, Context], Awaitable[Any]]

SERVING: Final = 1
NOT_SERVING: Final = 2
NO_SUCH_SERVICE: Final = 3
"""As grpc.health.v1 numbers them."""

WATCH_S: Final = 1.0
"""How often a watched service is looked at."""


class GrpcPages:
    """Answers from what both doors share."""

    def __init__(self, shared: Extensions) -> None:
        self._shared = shared
        self._dataplane = shared.dataplane
        self._content: dict[str, Callable[[Any], Any]] = {
            "ServerLive": lambda _: {"live": True},
            "ServerReady": lambda _: {"ready": self._dataplane.all_ready},
            "ModelReady": self._model_ready,
            "ServerMetadata": lambda _: description.server(),
            "ModelMetadata": self._model_metadata,
            "ModelConfig": self._model_config,
            "ModelStatistics": self._model_statistics,
            "RepositoryIndex": self._repository_index,
            "RepositoryModelUnload": self._unload,
            "CudaSharedMemoryStatus": lambda _: {},
            "CudaSharedMemoryRegister": self._gpu_memory,
            "CudaSharedMemoryUnregister": lambda _: {},
            "TraceSetting": lambda _: _settings(description.TRACE),
            "LogSettings": lambda _: _log_settings(description.LOGGING),
        }
        self._of_client: dict[str, Callable[[Any, str], Any]] = {
            "SystemSharedMemoryStatus": self._memory_status,
            "SystemSharedMemoryRegister": self._memory_register,
            "SystemSharedMemoryUnregister": self._memory_unregister,
        }

    def method(self, described: Any) -> Method:
        """What answers a method of the service."""
        answer: Any = getattr(wire, described.output_type.name)
        name = described.name

        async def respond(request: Any, context: Context) -> Any:
            if name == "RepositoryModelLoad":
                await self._shared.load(request.model_name, values(request.parameters))
                return answer()
            if name in self._of_client:
                return encode(self._of_client[name](request, context.peer()), answer())
            return encode(self._content[name](request), answer())

        return respond

    def _model_ready(self, request: Any) -> Any:
        return {"ready": self._dataplane.ready(request.name, parse_version(request.version))}

    def _model_metadata(self, request: Any) -> Any:
        found = self._dataplane.describe(request.name, parse_version(request.version))
        return description.model(found) | {"properties": description.properties(found)}

    def _model_config(self, request: Any) -> Any:
        found = self._dataplane.describe(request.name, parse_version(request.version))
        return {"config": description.config(found)}

    def _model_statistics(self, request: Any) -> Any:
        version = parse_version(request.version)
        return description.statistics(self._dataplane.statistics(request.name, version))

    def _repository_index(self, request: Any) -> Any:
        listed = self._dataplane.index()
        return {"models": description.index(listed, only_ready=request.ready)}

    def _unload(self, request: Any) -> Any:
        self._shared.unload(request.model_name)
        return {}

    def _gpu_memory(self, _: Any) -> Any:
        raise NotSupported("there is no shared memory of GPUs here")

    def _memory_status(self, request: Any, client: str) -> Any:
        found = self._shared.regions.status(client, request.name)
        return {"regions": {region.name: description.region(region) for region in found}}

    def _memory_register(self, request: Any, client: str) -> Any:
        place = (request.key, request.offset, request.byte_size)
        self._shared.regions.register(client, request.name, place)
        return {}

    def _memory_unregister(self, request: Any, client: str) -> Any:
        self._shared.regions.unregister(client, request.name)
        return {}


def _settings(content: dict[str, Any]) -> dict[str, Any]:
    def listed(value: Any) -> list[str]:
        return value if isinstance(value, list) else [value]

    return {"settings": {name: {"value": listed(value)} for name, value in content.items()}}


def _log_settings(content: dict[str, Any]) -> dict[str, Any]:
    kinds = {bool: "bool_param", int: "uint32_param", str: "string_param"}
    return {"settings": {name: {kinds[type(value)]: value} for name, value in content.items()}}


class GrpcHealth:
    """grpc.health.v1: the endpoint without a name, each model under its own."""

    def __init__(self, dataplane: Dataplane) -> None:
        self._dataplane = dataplane

    def handlers(self) -> grpc.GenericRpcHandler[Any, Any]:
        """The two methods."""
        read = health.HealthCheckRequest.FromString
        return grpc.method_handlers_generic_handler(
            "grpc.health.v1.Health",
            {
                "Check": grpc.unary_unary_rpc_method_handler(
                    self._check, request_deserializer=read, response_serializer=_serialize
                ),
                "Watch": grpc.unary_stream_rpc_method_handler(
                    self._watch, request_deserializer=read, response_serializer=_serialize
                ),
            },
        )

    async def _check(self, request: health.HealthCheckRequest, context: Context) -> Any:
        status = self._status(request.service)
        if status == NO_SUCH_SERVICE:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no model of that name here")
        return health.HealthCheckResponse(status=status)

    async def _watch(
        self, request: health.HealthCheckRequest, _: Context
    ) -> AsyncIterator[health.HealthCheckResponse]:
        told = 0
        while True:
            status = self._status(request.service)
            if status != told:
                told = status
                yield health.HealthCheckResponse(status=status)
            await asyncio.sleep(WATCH_S)

    def _status(self, name: str) -> int:
        if not name or name == "inference.GRPCInferenceService":
            return SERVING if self._dataplane.all_ready else NOT_SERVING
        try:
            self._dataplane.slot(name)
        except ModelUnknown:
            return NO_SUCH_SERVICE
        return SERVING if self._dataplane.ready(name, None) else NOT_SERVING


def _serialize(response: health.HealthCheckResponse) -> bytes:
    content: bytes = response.SerializeToString()
    return content
