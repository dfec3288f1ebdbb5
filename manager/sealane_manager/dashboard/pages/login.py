"""Logging in and out, and choosing light or dark."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

from starlette.responses import RedirectResponse

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
from sealane_manager.errors import NotAllowed, NotKnown, Unreachable
from sealane_manager.people.access import Act
from sealane_manager.people.sso import CALLBACK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI
    from sealane.errors import SealaneError
    from starlette.requests import Request
    from starlette.responses import Response

    from sealane_manager.dashboard.front import Form, Front
    from sealane_manager.people.sign_on import SignOn

_YEAR_S = 366 * 24 * 3600


class Login:
    """The door."""

    def __init__(self, front: Front) -> None:
        self._front = front

    def add_to(self, app: FastAPI) -> None:
        """Answer under these addresses."""
        app.add_route("/login", self.show, ["GET"])
        app.add_route("/login", self.enter, ["POST"])
        app.add_route("/sso", self.leave_for_provider, ["GET"])
        app.add_route(CALLBACK, self.come_back, ["GET"])
        app.add_route("/logout", self._front.posting(Act.LOOK, self.leave), ["POST"])
        app.add_route("/theme", self._front.posting(Act.LOOK, self.theme), ["POST"])

    def show(self, request: Request) -> Response:
        """The form."""
        onward = query.inside(request.query_params.get("next", "/"))
        return self._page(request, onward)

    def _page(
        self, request: Request, onward: str, error: SealaneError | None = None, name: str = ""
    ) -> Response:
        sign_on = self._front.offices.sign_on
        page = self._front.visitor_page(
            request,
            "login.html",
            onward=onward,
            error=error,
            name=name,
            sso=sign_on.name if sign_on else "",
        )
        page.status_code = 403 if error else 200
        return page

    def leave_for_provider(self, request: Request) -> Response:
        """Send the browser to the identity provider; it comes back to `come_back`."""
        onward = query.inside(request.query_params.get("next", "/"))
        visitor = request.cookies.get(VISITOR_COOKIE) or secrets.token_urlsafe(32)
        try:
            where = self._sign_on().begin(visitor, onward)
        except Unreachable as error:
            return self._page(request, onward, error)
        answer = RedirectResponse(where, status_code=303)
        set_cookie(answer, VISITOR_COOKIE, visitor)
        return answer

    def come_back(self, request: Request) -> Response:
        """Let in whom the identity provider vouches for."""
        visitor, asked = request.cookies.get(VISITOR_COOKIE, ""), request.query_params
        try:
            secret, onward = self._sign_on().finish(
                visitor, asked.get("state", ""), asked.get("code", "")
            )
        except (NotAllowed, Unreachable) as error:
            return self._page(request, "/", error)
        return _entered(secret, onward)

    def _sign_on(self) -> SignOn:
        found = self._front.offices.sign_on
        if not found:
            raise NotKnown("no identity provider is set up here", hint="see docs/sso.md")
        return found

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
            return self._page(request, onward, error, name)
        return _entered(secret, onward)

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


def _entered(secret: str, onward: str) -> Response:
    """A session has been opened: go on with its cookie."""
    answer = go(onward)
    set_cookie(answer, SESSION_COOKIE, secret)
    forget_cookie(answer, VISITOR_COOKIE)
    return answer
