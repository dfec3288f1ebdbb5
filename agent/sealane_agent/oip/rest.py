"""The REST door: parse, ask the dataplane, write. Content-Type is never looked at."""

from __future__ import annotations

import asyncio
import json
import zlib
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sealane_agent.oip import server_facts
from sealane_agent.oip.http import Response
from sealane_agent.oip.http_reader import BODY_BYTES, HttpRefused
from sealane_agent.oip.rest_codec import Answers, Plans, decode_infer, parse_object
from sealane_agent.oip.rest_paths import (
    NoSuchPath,
    Resource,
    Route,
    WrongMethod,
    parse_route,
)
from sealane_agent.serving.types import (
    InvalidInference,
    ModelFailed,
    ModelUnknown,
    NotReady,
    Overloaded,
    ServingError,
    WorkerDied,
    WorkerHung,
    nothing,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealane.bundle.types import TensorSpec

    from sealane_agent.oip.http_reader import Request
    from sealane_agent.oip.rest_codec import RestInference
    from sealane_agent.serving.dataplane import Dataplane
    from sealane_agent.serving.request import Outcome
    from sealane_agent.serving.types import Tensor

_STATUS: Final[dict[type[ServingError], int]] = {
    InvalidInference: 400,
    ModelUnknown: 404,
    NoSuchPath: 404,
    WrongMethod: 405,
    ModelFailed: 500,
    NotReady: 503,
    Overloaded: 503,
    WorkerDied: 503,
    WorkerHung: 503,
}
_JSON: Final = ("Content-Type", "application/json")
_BINARY: Final = ("Content-Type", "application/octet-stream")
_LATER: Final = ("Retry-After", "1")
_JSON_LENGTH: Final = "Inference-Header-Content-Length"
_WINDOW_BITS: Final = {b"gzip": 31, b"deflate": 15}
"""How zlib calls the two encodings; "deflate" means zlib's own format."""


class RestDoor:
    """Answers HTTP requests from the dataplane."""

    def __init__(self, dataplane: Dataplane) -> None:
        self._dataplane = dataplane
        self._plans = Plans()
        self._answers = Answers()

    def begin(
        self, request: Request, done: Callable[[Response], None]
    ) -> Callable[[], None] | None:
        """Begin an inference that waits for nothing but its model; None for everything else."""
        if request.method != "POST" or b"content-encoding" in request.headers:
            return None
        try:
            route = parse_route(request.method, request.path)
            if route.resource is not Resource.MODEL_INFER:
                return None
            asked = self._plans.decode(request.body, _json_length(request))
            return self._dataplane.ask(
                (route.model, route.version),
                asked.inference,
                partial(self._answered, (route, asked), done),
            )
        except ServingError as error:
            done(_failed(error))
            return nothing

    def _answered(
        self,
        asked: tuple[Route, RestInference],
        done: Callable[[Response], None],
        outcome: Outcome,
    ) -> None:
        if isinstance(outcome, ServingError):
            done(_failed(outcome))
            return
        pointer, outputs = outcome
        try:
            done(self._encode((asked[0].model, pointer.release.version), asked[1], outputs))
        except InvalidInference as error:
            done(_failed(error))

    def _encode(
        self, model: tuple[str, int], asked: RestInference, outputs: tuple[Tensor, ...]
    ) -> Response:
        answer = self._answers.encode(model, asked, outputs)
        if answer.json_bytes is None:
            return Response(200, answer.parts, (_JSON,))
        return Response(200, answer.parts, (_BINARY, (_JSON_LENGTH, str(answer.json_bytes))))

    async def answer(self, request: Request) -> Response:
        """One request's response; whatever is wrong becomes an error body."""
        try:
            route = parse_route(request.method, request.path)
            if route.resource is Resource.MODEL_INFER:
                return await self._infer(route, request)
            return self._other(route, request)
        except HttpRefused as refusal:
            return refuse(refusal)
        except ServingError as error:
            return _failed(error)

    async def _infer(self, route: Route, request: Request) -> Response:
        body = await _inflated(request)
        asked = decode_infer(body, _json_length(request))
        pointer, outputs = await self._dataplane.infer(route.model, route.version, asked.inference)
        return self._encode((route.model, pointer.release.version), asked, outputs)

    def _other(self, route: Route, request: Request) -> Response:
        match route.resource:
            case Resource.LIVE:
                return Response(200)
            case Resource.READY:
                return _health(ready=self._dataplane.all_ready)
            case Resource.MODEL_READY:
                return _health(ready=self._dataplane.ready(route.model, route.version))
            case Resource.MODEL:
                return self._metadata(route)
            case Resource.INDEX:
                return self._index(request)
            case _:
                return _json(200, _server())

    def _metadata(self, route: Route) -> Response:
        model = self._dataplane.describe(route.model, route.version)
        return _json(
            200,
            {
                "name": model.name,
                "versions": [str(version) for version in model.versions],
                "platform": model.runtime,
                "inputs": [_spec(spec) for spec in model.deployment.inputs],
                "outputs": [_spec(spec) for spec in model.deployment.outputs],
            },
        )

    def _index(self, request: Request) -> Response:
        only_ready = bool(request.body) and parse_object(request.body).get("ready") is True
        return _json(
            200,
            [
                {
                    "name": listed.name,
                    "version": str(listed.version),
                    "state": "READY" if listed.ready else "UNAVAILABLE",
                    "reason": listed.reason,
                }
                for listed in self._dataplane.index()
                if listed.ready or not only_ready
            ],
        )


def refuse(refusal: HttpRefused) -> Response:
    """The response to what was no proper request."""
    return _json(refusal.status, {"error": str(refusal)})


def _failed(error: ServingError) -> Response:
    status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
    text = f"{error} ({error.hint})" if error.hint else str(error)
    response = _json(status, {"error": text})
    if isinstance(error, Overloaded):
        return Response(status, response.parts, (*response.headers, _LATER))
    return response


def _json(status: int, content: Any) -> Response:
    return Response(status, (json.dumps(content).encode(),), (_JSON,))


def _health(*, ready: bool) -> Response:
    """The protocol says 4xx when not ready; stock clients read only the status."""
    return Response(200 if ready else 400)


def _server() -> dict[str, Any]:
    return {
        "name": server_facts.NAME,
        "version": server_facts.VERSION,
        "extensions": list(server_facts.EXTENSIONS),
    }


def _spec(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype.value, "shape": list(spec.shape)}


def _json_length(request: Request) -> int | None:
    text = request.headers.get(b"inference-header-content-length")
    if text is None:
        return None
    if not text.isdigit() or len(text) > len(str(BODY_BYTES)):
        raise InvalidInference("Inference-Header-Content-Length is not a number of bytes")
    return int(text)


async def _inflated(request: Request) -> bytes:
    encoding = request.headers.get(b"content-encoding", b"identity").lower()
    if encoding == b"identity":
        return request.body
    if encoding not in _WINDOW_BITS:
        raise HttpRefused(415, "a body is sent as it is, or with gzip or deflate")
    return await asyncio.to_thread(inflate, request.body, _WINDOW_BITS[encoding])


def inflate(body: bytes, window_bits: int) -> bytes:
    """Decompress, at most to the largest body; raises HttpRefused."""
    inflater = zlib.decompressobj(window_bits)
    try:
        content = inflater.decompress(body, BODY_BYTES)
    except zlib.error:
        raise HttpRefused(400, "the compressed body is damaged") from None
    if inflater.unconsumed_tail:
        raise HttpRefused(413, f"a body is at most {BODY_BYTES} bytes, also when inflated")
    if not inflater.eof:
        raise HttpRefused(400, "the compressed body ends too early")
    return content
