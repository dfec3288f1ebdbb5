"""Answers `/metrics` for whoever shows an API token."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

from sealane_manager.metrics import exposition, native
from sealane_manager.metrics.families import families
from sealane_manager.metrics.survey import Survey
from sealane_manager.people.access import Act

if TYPE_CHECKING:
    from starlette.requests import Request

    from sealane_manager.dashboard.offices import Offices

PATH: Final = "/metrics"
_BEARER: Final = "Bearer "


class Metrics:
    """One route; add it with `app.add_route(PATH, Metrics(offices).answer, ["GET"])`."""

    def __init__(self, offices: Offices) -> None:
        self._offices = offices
        self._survey = Survey(offices.fleet, offices.store, offices.reachable)

    async def answer(self, request: Request) -> Response:
        """What Prometheus asks for, in the form that it asks for."""
        shown = request.headers.get("authorization", "")
        if not await asyncio.to_thread(self._may_look, shown):
            text = "show an API token: authorization: Bearer …\n"
            return Response(text, 401, {"WWW-Authenticate": "Bearer"}, "text/plain")
        return await asyncio.to_thread(self._written, request.headers.get("accept", ""))

    def _may_look(self, shown: str) -> bool:
        if not shown.startswith(_BEARER):
            return False
        who = self._offices.accounts.bearer(shown.removeprefix(_BEARER).strip())
        return who is not None and who.may(Act.LOOK)

    def _written(self, accept: str) -> Response:
        found = families(self._survey.look())
        if native.wanted(accept):
            return Response(native.encoded(found), media_type=native.CONTENT_TYPE)
        return Response(exposition.text(found), media_type=exposition.CONTENT_TYPE)
