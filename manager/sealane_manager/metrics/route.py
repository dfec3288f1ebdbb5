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
    from sealane_manager.people.access import Who

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
        who = await asyncio.to_thread(self._who, shown)
        if not who or not who.may(Act.LOOK):
            text = "show an API token: authorization: Bearer …\n"
            return Response(text, 401, {"WWW-Authenticate": "Bearer"}, "text/plain")
        if who.sites:
            text = "these numbers are the whole fleet's: show a token that has no sites\n"
            return Response(text, 403, media_type="text/plain")
        return await asyncio.to_thread(self._written, request.headers.get("accept", ""))

    def _who(self, shown: str) -> Who | None:
        if not shown.startswith(_BEARER):
            return None
        return self._offices.accounts.bearer(shown.removeprefix(_BEARER).strip())

    def _written(self, accept: str) -> Response:
        found = families(self._survey.look())
        if native.wanted(accept):
            return Response(native.encoded(found), media_type=native.CONTENT_TYPE)
        return Response(exposition.text(found), media_type=exposition.CONTENT_TYPE)
