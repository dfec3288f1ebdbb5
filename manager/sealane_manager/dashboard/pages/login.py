"""Logging in and out, and choosing light or dark."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sealane_manager.dashboard import query
from sealane_manager.dashboard.front import (
    SESSION_COOKIE,
    THEME_COOKIE,
    THEMES,
    VISITOR_COOKIE,
    check_form,
    forget_cookie,
    go,
    read_form,
    set_cookie,
)
from sealane_manager.errors import NotAllowed
from sealane_manager.people.access import Act

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

    from sealane_manager.dashboard.front import Form, Front

_YEAR_S = 366 * 24 * 3600


class Login:
    """The door."""

    def __init__(self, front: Front) -> None:
        self._front = front

    def add_to(self, app: FastAPI) -> None:
        """Answer under these addresses."""
        app.add_route("/login", self.show, ["GET"])
        app.add_route("/login", self.enter, ["POST"])
        app.add_route("/logout", self._front.posting(Act.LOOK, self.leave), ["POST"])
        app.add_route("/theme", self._front.posting(Act.LOOK, self.theme), ["POST"])

    def show(self, request: Request) -> Response:
        """The form."""
        onward = query.inside(request.query_params.get("next", "/"))
        return self._front.visitor_page(request, "login.html", onward=onward, error=None, name="")

    async def enter(self, request: Request) -> Response:
        """Check name and password, and open a session."""
        fields = await read_form(request)
        return await asyncio.to_thread(self._enter, request, fields)

    def _enter(self, request: Request, fields: Mapping[str, str]) -> Response:
        onward = query.inside(fields.get("next", "/"))
        name, password = fields.get("name", "").strip(), fields.get("password", "")
        try:
            check_form(request, fields, request.cookies.get(VISITOR_COOKIE, ""))
            address = request.client.host if request.client else ""
            secret = self._front.offices.accounts.log_in(name, password, address)
        except NotAllowed as error:
            again = self._front.visitor_page(
                request, "login.html", onward=onward, error=error, name=name
            )
            again.status_code = 403
            return again
        answer = go(onward)
        set_cookie(answer, SESSION_COOKIE, secret)
        forget_cookie(answer, VISITOR_COOKIE)
        return answer

    def leave(self, form: Form) -> Response:
        """End the session."""
        self._front.offices.accounts.log_out(form.visit.secret)
        answer = go("/login")
        forget_cookie(answer, SESSION_COOKIE)
        return answer

    def theme(self, form: Form) -> Response:
        """Remember light or dark, or leave it to the browser."""
        chosen = form.text("theme")
        answer = go(query.inside(form.text("back", query.SELECTOR_CHARS)))
        if chosen in THEMES:
            answer.set_cookie(
                THEME_COOKIE, chosen, _YEAR_S, path="/", secure=True, httponly=True, samesite="lax"
            )
        else:
            forget_cookie(answer, THEME_COOKIE)
        return answer
