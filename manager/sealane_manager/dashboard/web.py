"""Builds the web application: pages, live streams, the read API; the only place that does."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI
from sealane.errors import InvalidName, SealaneError
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse

from sealane_manager.api.v1 import ReadApi
from sealane_manager.dashboard import assets, query
from sealane_manager.dashboard.front import Front, LoginNeeded, theme_of
from sealane_manager.dashboard.headers import SafeHeaders
from sealane_manager.dashboard.health import Health
from sealane_manager.dashboard.live import Live, as_event
from sealane_manager.dashboard.pages.alerts import AlertPages
from sealane_manager.dashboard.pages.charts import ChartPages
from sealane_manager.dashboard.pages.devices import DevicePages
from sealane_manager.dashboard.pages.drift import DriftPages
from sealane_manager.dashboard.pages.login import Login
from sealane_manager.dashboard.pages.models import ModelPages
from sealane_manager.dashboard.pages.orders import OrderPages
from sealane_manager.dashboard.pages.overview import OverviewPages
from sealane_manager.dashboard.pages.rollouts import RolloutPages
from sealane_manager.dashboard.pages.settings import SettingsPages
from sealane_manager.errors import NoSpace, NotAllowed, NotKnown, Refused
from sealane_manager.metrics.route import PATH as METRICS
from sealane_manager.metrics.route import Metrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from sealane_manager.dashboard.front import Visit
    from sealane_manager.dashboard.live import Topic
    from sealane_manager.dashboard.offices import Offices

_STATUS: Final = (
    (NotAllowed, 403),
    (NotKnown, 404),
    (NoSpace, 507),
    (Refused, 409),
    (InvalidName, 400),
    (SealaneError, 400),
)
_COMPRESS_ABOVE: Final = 1024

_log = logging.getLogger(__name__)


class Web:
    """The application and its live streams."""

    def __init__(self, offices: Offices) -> None:
        assets.check()
        self._front = Front(offices)
        self._live = Live(offices.controller)
        self._overview = OverviewPages(self._front)
        self._devices = DevicePages(self._front)
        self._rollouts = RolloutPages(self._front)
        self._alerts = AlertPages(self._front)
        self.app = self._build(offices)

    def warm_up(self) -> None:
        """Make what every page needs before the first is asked for; blocks a moment."""
        self._front.warm_up()

    def close(self) -> None:
        """End every live stream, so that the server can stop."""
        self._live.close()

    def _build(self, offices: Offices) -> FastAPI:
        app = FastAPI(title="Sealane", version="1", docs_url=None, redoc_url=None, openapi_url=None)
        app.add_route("/static/{name}", assets.serve, ["GET"])
        for pages in (
            Login(self._front),
            self._overview,
            self._devices,
            self._rollouts,
            self._alerts,
            ModelPages(self._front),
            OrderPages(self._front),
            SettingsPages(self._front),
            ChartPages(self._front),
            DriftPages(self._front),
        ):
            pages.add_to(app)
        Health(offices.store.alerts.counts).add_to(app)
        app.add_route("/live/{kind}", self.live, ["GET"])
        app.add_route("/live/{kind}/{name}", self.live, ["GET"])
        app.include_router(ReadApi(offices).router())
        app.add_route(METRICS, Metrics(offices).answer, ["GET"])
        app.add_exception_handler(LoginNeeded, self._to_login)
        app.add_exception_handler(SealaneError, self._refused)
        app.add_exception_handler(ClientDisconnect, self._gone)
        app.add_exception_handler(404, self._nowhere)
        app.add_exception_handler(Exception, self._failed)
        app.add_middleware(GZipMiddleware, minimum_size=_COMPRESS_ABOVE, compresslevel=5)
        app.add_middleware(SafeHeaders)
        return app

    async def live(self, request: Request) -> Response:
        """The stream of one topic."""
        visit = await asyncio.to_thread(self._front.visit, request)
        topic = await asyncio.to_thread(self._topic, visit)
        return StreamingResponse(self._stream(visit, topic), media_type="text/event-stream")

    async def _stream(self, visit: Visit, topic: Topic[Any]) -> AsyncIterator[str]:
        """Events until the browser goes or the session ends."""
        async for text in self._live.follow(topic):
            who = await asyncio.to_thread(self._front.offices.accounts.who, visit.secret)
            if who != visit.who:
                return
            yield as_event(text)

    def _topic(self, visit: Visit) -> Topic[Any]:
        name = visit.request.path_params.get("name", "")
        match visit.path("kind"):
            case "overview" | "wall" as kind if not name:
                return self._overview.topic(kind, visit)
            case "alerts" if not name:
                return self._alerts.topic(visit)
            case "device":
                return self._devices.topic(name, visit)
            case "rollout":
                return self._rollouts.topic(name, visit)
        raise NotKnown("there is nothing live here")

    async def _to_login(self, request: Request, _: Exception) -> Response:
        if _is_api(request):
            return _problem(401, "an API token or a session is needed", "")
        if request.url.path.startswith("/live/"):
            return Response("log in again", 401, media_type="text/plain")
        onward = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        where = query.address("/login", {"next": onward if request.method == "GET" else "/"})
        if "hx-request" in request.headers:
            return Response(status_code=200, headers={"HX-Redirect": where})
        return RedirectResponse(where, status_code=303)

    async def _refused(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, SealaneError)  # noqa: S101 - registered for nothing else
        status = next(status for kind, status in _STATUS if isinstance(error, kind))
        return await self._say(request, status, str(error), error.hint)

    async def _gone(self, _: Request, __: Exception) -> Response:
        """Nobody hears this answer to half a form; nothing failed."""
        return Response(status_code=400)

    async def _nowhere(self, request: Request, _: Exception) -> Response:
        return await self._say(request, 404, "there is no such page", "begin at the first page")

    async def _failed(self, request: Request, error: Exception) -> Response:
        _log.error("a page failed", exc_info=error)
        return await self._say(request, 500, "the manager failed; its log says why", "")

    async def _say(self, request: Request, status: int, text: str, hint: str) -> Response:
        if _is_api(request):
            return _problem(status, text, hint)
        content = {"status": status, "text": text, "hint": hint, "theme": theme_of(request)}
        page = await asyncio.to_thread(self._front.render, "error.html", **content)
        return Response(page, status, media_type="text/html")


def _is_api(request: Request) -> bool:
    return request.url.path.startswith("/api/")


def _problem(status: int, text: str, hint: str) -> JSONResponse:
    return JSONResponse({"error": text, "hint": hint}, status)
