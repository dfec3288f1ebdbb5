"""The REST door's inference: parse, ask the dataplane, write. Content-Type is never looked at."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from sealane_agent.oip.compression import WINDOW_BITS, coding_wished, deflate, inflate
from sealane_agent.oip.http import Response
from sealane_agent.oip.http_reader import BODY_BYTES, HttpRefused
from sealane_agent.oip.parameters import terms_of
from sealane_agent.oip.rest_codec import Answers, Computed, Plans, decode_infer
from sealane_agent.oip.rest_pages import JSON, failed, refuse
from sealane_agent.oip.rest_paths import Resource, Route, parse_route
from sealane_agent.serving.types import Inference, InvalidInference, ServingError, nothing

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealane_agent.oip.http_reader import Request
    from sealane_agent.oip.rest_codec import RestInference
    from sealane_agent.oip.rest_pages import RestPages
    from sealane_agent.serving.dataplane import Dataplane
    from sealane_agent.serving.request import Outcome
    from sealane_agent.serving.types import Tensor

_BINARY: Final = ("Content-Type", "application/octet-stream")
_JSON_LENGTH: Final = "Inference-Header-Content-Length"


class RestDoor:
    """Answers HTTP requests from the dataplane."""

    def __init__(self, dataplane: Dataplane, pages: RestPages) -> None:
        self._dataplane = dataplane
        self._pages = pages
        self._plans = Plans()
        self._answers = Answers()

    def begin(
        self, request: Request, done: Callable[[Response], None]
    ) -> Callable[[], None] | None:
        """Begin an inference that waits for nothing but its model; None for everything else."""
        headers = request.headers
        if request.method != "POST" or b"content-encoding" in headers or coding_wished(headers):
            return None
        try:
            route = parse_route(request.method, request.path)
            if route.resource is not Resource.MODEL_INFER:
                return None
            asked = self._plans.decode(
                request.body, _json_length(request), self._pages.finder(request.client)
            )
            return self._dataplane.ask(
                (route.model, route.version),
                _timed(asked),
                partial(self._answered, (route, request.client, asked), done),
            )
        except ServingError as error:
            done(failed(error))
            return nothing

    def _answered(
        self,
        asked: tuple[Route, str, RestInference],
        done: Callable[[Response], None],
        outcome: Outcome,
    ) -> None:
        if isinstance(outcome, ServingError):
            done(failed(outcome))
            return
        route, client, request = asked
        pointer, outputs, arm = outcome
        try:
            if not request.wish.plain:
                outputs = self._pages.formed((route.model, client), request.wish, outputs)
            model = Computed(route.model, pointer.release.version, arm)
            response = self._encode(model, request, outputs)
        except ServingError as error:
            response = failed(error)
        done(response)

    def _encode(
        self, model: Computed, asked: RestInference, outputs: tuple[Tensor, ...]
    ) -> Response:
        answer = self._answers.encode(model, asked, outputs)
        if answer.json_bytes is None:
            return Response(200, answer.parts, (JSON,))
        return Response(200, answer.parts, (_BINARY, (_JSON_LENGTH, str(answer.json_bytes))))

    async def answer(self, request: Request) -> Response:
        """One request's response; whatever is wrong becomes an error body."""
        response = await self._answer(request)
        coding = coding_wished(request.headers)
        if coding is None or not response.parts:
            return response
        body = await asyncio.to_thread(deflate, response.parts, WINDOW_BITS[coding])
        headers = (*response.headers, ("Content-Encoding", coding.decode()))
        return Response(response.status, (body,), headers)

    async def _answer(self, request: Request) -> Response:
        try:
            route = parse_route(request.method, request.path)
            if route.resource is Resource.MODEL_INFER:
                return await self._infer(route, request)
            return await self._pages.answer(route, request)
        except HttpRefused as refusal:
            return refuse(refusal)
        except ServingError as error:
            return failed(error)

    async def _infer(self, route: Route, request: Request) -> Response:
        body = await _inflated(request)
        find = self._pages.finder(request.client)
        asked = decode_infer(body, _json_length(request), find)
        pointer, outputs, arm = await self._dataplane.infer(
            route.model, route.version, _timed(asked)
        )
        if not asked.wish.plain:
            outputs = self._pages.formed((route.model, request.client), asked.wish, outputs)
        return self._encode(Computed(route.model, pointer.release.version, arm), asked, outputs)


def _timed(asked: RestInference) -> Inference:
    if not (asked.wanted.timeout_us or asked.wanted.priority):
        return asked.inference
    return asked.inference._replace(terms=terms_of(asked.wanted, time.monotonic()))


def _json_length(request: Request) -> int | None:
    text = request.headers.get(b"inference-header-content-length")
    if text is None:
        return None
    if not text.isdigit() or len(text) > len(str(BODY_BYTES)):
        raise InvalidInference("Inference-Header-Content-Length is not a number of bytes")
    return int(text)


async def _inflated(request: Request) -> bytes | memoryview:
    encoding = request.headers.get(b"content-encoding", b"identity").lower()
    if encoding == b"identity":
        return request.body
    if encoding not in WINDOW_BITS:
        raise HttpRefused(415, "a body is sent as it is, or with gzip or deflate")
    return await asyncio.to_thread(inflate, request.body, WINDOW_BITS[encoding])
