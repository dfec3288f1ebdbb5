"""Everything that the REST door answers besides inference, and what errors look like there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from sealane_agent.oip import description
from sealane_agent.oip.http import Response
from sealane_agent.oip.metrics import TEXT, exposition
from sealane_agent.oip.parameters import whole
from sealane_agent.oip.rest_codec import parse_object
from sealane_agent.oip.rest_paths import NoSuchPath, Resource, Route, WrongMethod
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
    from collections.abc import Callable

    from sealane_agent.oip.extensions import Extensions
    from sealane_agent.oip.http_reader import HttpRefused, Request
    from sealane_agent.oip.parameters import Source, Wish
    from sealane_agent.serving.types import Tensor

JSON: Final = ("Content-Type", "application/json")

_STATUS: Final[dict[type[ServingError], int]] = {
    InvalidInference: 400,
    NotAllowed: 403,
    ModelUnknown: 404,
    NoSuchPath: 404,
    WrongMethod: 405,
    ModelFailed: 500,
    NotSupported: 501,
    NotReady: 503,
    Overloaded: 503,
    WorkerDied: 503,
    WorkerHung: 503,
    Expired: 504,
}
_LATER: Final = ("Retry-After", "1")


class RestPages:
    """Answers from what both doors share."""

    def __init__(self, shared: Extensions) -> None:
        self._shared = shared
        self._dataplane = data = shared.dataplane
        self._pages: dict[Resource, Callable[[Route, Request], Any]] = {
            Resource.SERVER: lambda *_: description.server(),
            Resource.MODEL: lambda r, _: description.model(data.describe(r.model, r.version)),
            Resource.MODEL_CONFIG: lambda r, _: description.config(
                data.describe(r.model, r.version)
            ),
            Resource.MODEL_STATISTICS: lambda r, _: description.statistics(
                data.statistics(r.model, r.version)
            ),
            Resource.INDEX: self._index,
            Resource.TRACE: lambda *_: description.TRACE,
            Resource.LOGGING: lambda *_: description.LOGGING,
            Resource.UNLOAD: self._unload,
            Resource.MEMORY_STATUS: self._memory_status,
            Resource.MEMORY_REGISTER: self._memory_register,
            Resource.MEMORY_UNREGISTER: self._memory_unregister,
            Resource.GPU_MEMORY_STATUS: lambda *_: [],
            Resource.GPU_MEMORY_REGISTER: self._gpu_memory,
            Resource.GPU_MEMORY_UNREGISTER: lambda *_: {},
        }

    async def answer(self, route: Route, request: Request) -> Response:
        """One request's response; raises ServingError."""
        match route.resource:
            case Resource.LIVE:
                return Response(200)
            case Resource.READY:
                return _health(ready=self._dataplane.all_ready)
            case Resource.MODEL_READY:
                return _health(ready=self._dataplane.ready(route.model, route.version))
            case Resource.METRICS:
                text = exposition(self._dataplane.statistics(), self._shared.names)
                return Response(200, (text.encode(),), (("Content-Type", TEXT),))
        if route.resource is Resource.LOAD:
            await self._shared.load(route.model, _parameters(request))
            return _json(200, {})
        return _json(200, self._pages[route.resource](route, request))

    def _index(self, _: Route, request: Request) -> Any:
        only_ready = _fields(request).get("ready") is True
        return description.index(self._dataplane.index(), only_ready=only_ready)

    def _unload(self, route: Route, _: Request) -> Any:
        self._shared.unload(route.model)
        return {}

    def _memory_status(self, route: Route, request: Request) -> Any:
        found = self._shared.regions.status(request.client, route.region)
        return [description.region(region) for region in found]

    def _memory_register(self, route: Route, request: Request) -> Any:
        place = _memory_place(_fields(request))
        self._shared.regions.register(request.client, route.region, place)
        return {}

    def _memory_unregister(self, route: Route, request: Request) -> Any:
        self._shared.regions.unregister(request.client, route.region)
        return {}

    def _gpu_memory(self, *_: object) -> Any:
        raise NotSupported("there is no shared memory of GPUs here")

    def finder(self, client: str) -> Callable[[str], Source]:
        """What finds a client's regions by their names."""
        return lambda name: self._shared.regions.find(client, name)

    def formed(
        self, asked: tuple[str, str], wish: Wish, outputs: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        """The outputs of a model as a client wishes them; raises ServingError."""
        return self._shared.formed(asked, wish, outputs)


def _fields(request: Request) -> dict[str, Any]:
    """Stock clients may send no body at all."""
    return parse_object(bytes(request.body)) if request.body else {}


def _parameters(request: Request) -> dict[str, Any]:
    parameters = _fields(request).get("parameters", {})
    if not isinstance(parameters, dict):
        raise InvalidInference("'parameters' is not an object")
    return parameters


def _memory_place(fields: dict[str, Any]) -> tuple[str, int, int]:
    key = fields.get("key")
    if not isinstance(key, str):
        raise InvalidInference("a region is registered with its key, offset and byte_size")
    return key, whole(fields, "offset", 2**63), whole(fields, "byte_size", 2**63)


def refuse(refusal: HttpRefused) -> Response:
    """The response to what was no proper request."""
    return _json(refusal.status, {"error": str(refusal)})


def failed(error: ServingError) -> Response:
    """The response to what cannot be answered."""
    status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
    text = f"{error} ({error.hint})" if error.hint else str(error)
    response = _json(status, {"error": text})
    if isinstance(error, Overloaded):
        return Response(status, response.parts, (*response.headers, _LATER))
    return response


def _json(status: int, content: Any) -> Response:
    return Response(status, (json.dumps(content).encode(),), (JSON,))


def _health(*, ready: bool) -> Response:
    """The protocol says 4xx when not ready; stock clients read only the status."""
    return Response(200 if ready else 400)
