"""The REST door's inference: parse, ask the dataplane, write. Content-Type is never looked at."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from sealane_agent.oip.compression import WINDOW_BITS, coding_wished, deflate, inflate
from sealane_agent.oip.http import Response, opening
from sealane_agent.oip.http_reader import BODY_BYTES, JSON_LENGTH, HttpRefused
from sealane_agent.oip.parameters import terms_of
from sealane_agent.oip.rest_codec import Computed, decode_infer, encode_infer
from sealane_agent.oip.rest_pages import JSON, failed, refuse
from sealane_agent.oip.rest_paths import Resource, Route, parse_route
from sealane_agent.oip.rest_plans import Answers, Plans
from sealane_agent.serving.types import Inference, InvalidInference, ServingError, nothing

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealane_agent.oip.http_reader import Request
    from sealane_agent.oip.rest_codec import RestInference
    from sealane_agent.oip.rest_pages import RestPages
    from sealane_agent.oip.rest_plans import AnswerForm
    from sealane_agent.serving.dataplane import Dataplane
    from sealane_agent.serving.request import Outcome
    from sealane_agent.serving.types import Answered, Tensor

_BINARY: Final = ("Content-Type", "application/octet-stream")
_JSON_LENGTH: Final = "Inference-Header-Content-Length"


class _Straight(NamedTuple):
    """What the head of an inference says that waits for nothing but its model.

    Attributes:
        model: its name and version.
    """

    model: tuple[str, int | None]
    json_bytes: int | None


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
        head, client = request.head, request.client
        try:
            straight = head.note or _straight(request)
            if not isinstance(straight, _Straight):
                return None
            head.note = straight
            model, json_bytes = straight
            asked = self._plans.find(request.body, json_bytes) or self._plans.read(
                request.body, json_bytes, self._pages.finder(client)
            )
            return self._dataplane.ask(
                model, _timed(asked), partial(self._answered, (model[0], client), asked, done)
            )
        except ServingError as error:
            done(failed(error))
            return nothing

    def _answered(
        self,
        who: tuple[str, str],
        asked: RestInference,
        done: Callable[[Response], None],
        outcome: Outcome,
    ) -> None:
        if isinstance(outcome, ServingError):
            done(failed(outcome))
            return
        try:
            response = self._response(who, asked, outcome)
        except ServingError as error:
            response = failed(error)
        done(response)

    def _response(self, who: tuple[str, str], asked: RestInference, answered: Answered) -> Response:
        """An answer of a model to a client."""
        pointer, outputs, arm = answered
        wish = asked.asked.wish
        if not wish.plain:
            outputs = self._pages.formed(who, wish, outputs)
        model = who[0], pointer.release.version, arm
        form = self._answers.find(model, asked, outputs)
        if form is None:
            answer = encode_infer(Computed(*model), asked.asked, outputs)
            return Response(200, answer.parts, _headers(answer.json_bytes))
        request_id = asked.asked.request_id
        head = form.with_id(request_id) if request_id else form.json
        parts: list[bytes | memoryview] = [head]
        # A comprehension is a call of its own, which for one tensor costs more than the tensor.
        for _, _, _, data in outputs:
            parts.append(data)
        if request_id:
            return Response(200, parts, _headers(len(head)))
        headers, whole = form.note or _remember(form, outputs)
        return Response(200, parts, headers, whole)

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
        answered = await self._dataplane.infer(route.model, route.version, _timed(asked))
        return self._response((route.model, request.client), asked, answered)


def _straight(request: Request) -> _Straight | None:
    headers = request.headers
    if request.method != "POST" or b"content-encoding" in headers or coding_wished(headers):
        return None
    route = parse_route(request.method, request.path)
    if route.resource is not Resource.MODEL_INFER:
        return None
    return _Straight((route.model, route.version), _json_length(request))


def _headers(json_bytes: int | None) -> tuple[tuple[str, str], ...]:
    return (JSON,) if json_bytes is None else (_BINARY, (_JSON_LENGTH, str(json_bytes)))


def _remember(
    form: AnswerForm, outputs: tuple[Tensor, ...]
) -> tuple[tuple[tuple[str, str], ...], bytes]:
    """The headers of such answers, and the whole head."""
    size = len(form.json) + sum(len(tensor.data) for tensor in outputs)
    headers = _headers(len(form.json))
    note = headers, opening(headers, size)
    form.note = note
    return note


def _timed(asked: RestInference) -> Inference:
    inference, (_, _, wanted) = asked
    if not (wanted.timeout_us or wanted.priority):
        return inference
    return inference._replace(terms=terms_of(wanted, time.monotonic()))


def _json_length(request: Request) -> int | None:
    text = request.headers.get(JSON_LENGTH)
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
