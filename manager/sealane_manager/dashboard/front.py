"""Lets requests in and shows pages: who asks, whether a form is ours, the frame around all."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from sealane.errors import InvalidName
from starlette.responses import HTMLResponse, RedirectResponse, Response

from sealane_manager.dashboard import assets, query, words
from sealane_manager.dashboard.charts import RANGES
from sealane_manager.dashboard.csrf import PAD_BYTES, is_token, make_token
from sealane_manager.errors import NotAllowed
from sealane_manager.people.access import Act, Who

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.requests import Request

    from sealane_manager.dashboard.offices import Offices

SESSION_COOKIE: Final = "__Host-sealane"
VISITOR_COOKIE: Final = "__Host-sealane-visitor"
"""Who has not logged in yet: ties the login form to this browser."""
THEME_COOKIE: Final = "__Host-sealane-theme"
THEMES: Final = ("light", "dark")

FORM_BYTES: Final = 64 * 1024
"""A form of ours; the largest field is a selector."""
FORM_FIELDS: Final = 64
FORM_S: Final = 30.0
"""What a form's body may take."""

REASON_CHARS: Final = 500

NAVIGATION: Final = (
    ("overview", "Overview", "/"),
    ("devices", "Devices", "/devices"),
    ("sites", "Sites", "/sites"),
    ("models", "Models", "/models"),
    ("rollouts", "Rollouts", "/rollouts"),
    ("drift", "Data & drift", "/drift"),
    ("alerts", "Alerts", "/alerts"),
    ("audit", "Audit log", "/audit"),
    ("settings", "Settings", "/settings"),
)


class LoginNeeded(Exception):  # noqa: N818 - what is needed, not what went wrong
    """Nobody is logged in."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of somebody who is logged in; `offices` answer what he may see."""

    request: Request
    who: Who
    secret: str
    offices: Offices

    @property
    def asked(self) -> Mapping[str, str]:
        """What the address asks for."""
        return dict(self.request.query_params)

    def path(self, name: str) -> str:
        """One part of the address's path."""
        return str(self.request.path_params[name])


@dataclass(frozen=True, slots=True)
class Form:
    """One form that somebody who is logged in sent from a page of ours."""

    visit: Visit
    fields: Mapping[str, str]

    def text(self, name: str, most: int = query.VALUE_CHARS) -> str:
        """One field without blanks around it; raises InvalidName when it is too long."""
        content = self.fields.get(name, "").strip()
        if len(content) > most:
            raise InvalidName(f"the field {name} has at most {most} characters")
        return content

    def reason(self) -> str:
        """Why it is done; raises InvalidName when nothing is said."""
        said = self.text("reason", REASON_CHARS)
        if not said:
            raise InvalidName("a reason is missing", hint="say why: it goes into the audit log")
        return said


class Front:
    """The frame of every page."""

    def __init__(self, offices: Offices) -> None:
        self.offices = offices
        self._templates = _environment()

    def visit(self, request: Request, act: Act = Act.LOOK) -> Visit:
        """Who asks; raises LoginNeeded, or NotAllowed when the role is not enough."""
        secret = request.cookies.get(SESSION_COOKIE, "")
        who = self.offices.accounts.who(secret)
        if not who:
            raise LoginNeeded
        who.check(act)
        return Visit(request, who, secret, self.offices.seen(who.sites))

    def page(self, visit: Visit, template: str, **content: Any) -> HTMLResponse:
        """A whole page, or only its part `main` for a script that swaps it."""
        headers = visit.request.headers
        partial = "hx-request" in headers and "hx-history-restore-request" not in headers
        frame = {
            "who": visit.who,
            "csrf": make_token(visit.secret, secrets.token_bytes(PAD_BYTES)),
            "asked": visit.asked,
            "path": visit.request.url.path,
            "theme": theme_of(visit.request),
            "layout": "partial.html" if partial else "layout.html",
            "alerts_open": sum(visit.offices.store.alerts.counts().values()),
        }
        answer = HTMLResponse(self.render(template, **frame, **content))
        answer.headers["Vary"] = "HX-Request, Cookie"
        return answer

    def render(self, template: str, **content: Any) -> str:
        """A template with its content and the time."""
        return self._templates.get_template(template).render(
            now=self.offices.clock.now(),
            fleet=self.offices.fleet,
            development=self.offices.development(),
            navigation=NAVIGATION,
            **content,
        )

    def warm_up(self) -> None:
        """Compile every template, so that the first visitor does not wait for it."""
        for name in self._templates.list_templates():
            self._templates.get_template(name)

    def visitor_page(self, request: Request, template: str, **content: Any) -> HTMLResponse:
        """A page for somebody who is not logged in."""
        secret = request.cookies.get(VISITOR_COOKIE) or secrets.token_urlsafe(32)
        csrf = make_token(secret, secrets.token_bytes(PAD_BYTES))
        theme = theme_of(request)
        answer = HTMLResponse(self.render(template, csrf=csrf, theme=theme, **content))
        set_cookie(answer, VISITOR_COOKIE, secret)
        return answer

    def posting(self, act: Act, handler: Callable[[Form], Response]) -> Callable[[Request], Any]:
        """An endpoint for a form: reads and checks it, then calls the handler in a thread."""

        async def endpoint(request: Request) -> Response:
            fields = await read_form(request)

            def handle() -> Response:
                visit = self.visit(request, act)
                check_form(request, fields, visit.secret)
                return handler(Form(visit, fields))

            return await asyncio.to_thread(handle)

        return endpoint


async def read_form(request: Request) -> Mapping[str, str]:
    """The fields of a form, within limits; raises InvalidName."""
    try:
        async with asyncio.timeout(FORM_S):
            content = await _form_of(request)
    except TimeoutError as error:
        raise InvalidName(f"a form comes within {FORM_S:g} seconds") from error
    try:
        pairs = parse_qsl(content.decode(), keep_blank_values=True, max_num_fields=FORM_FIELDS)
    except ValueError as error:
        raise InvalidName("the form cannot be read") from error
    return dict(pairs)


async def _form_of(request: Request) -> bytearray:
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > FORM_BYTES:
            raise InvalidName(f"a form has at most {FORM_BYTES} bytes")
    return content


def check_form(request: Request, fields: Mapping[str, str], secret: str) -> None:
    """Raise NotAllowed unless the form was sent from a page of ours in this session."""
    host = request.headers.get("host", "")
    origin = request.headers.get("origin")
    elsewhere = origin is not None and urlsplit(origin).netloc != host
    foreign = request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
    if elsewhere or foreign or not is_token(secret, fields.get("csrf", "")):
        raise NotAllowed("the form was not sent from this page", hint="open the page again")


def set_cookie(answer: Response, name: str, content: str) -> None:
    """A cookie for this site alone, which no script can read; ends with the browser."""
    answer.set_cookie(name, content, path="/", secure=True, httponly=True, samesite="lax")


def forget_cookie(answer: Response, name: str) -> None:
    """End a cookie."""
    answer.delete_cookie(name, path="/", secure=True, httponly=True, samesite="lax")


def theme_of(request: Request) -> str:
    """The theme that was chosen; empty leaves it to the browser."""
    chosen = request.cookies.get(THEME_COOKIE, "")
    return chosen if chosen in THEMES else ""


def go(path: str) -> RedirectResponse:
    """Go on to a page of ours after a form."""
    return RedirectResponse(path, status_code=303)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("sealane_manager.dashboard", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(words.FILTERS)
    environment.globals.update(
        asset=assets.address,
        address=query.address,
        sorted_by=query.sorted_by,
        share=words.share,
        Act=Act,
        ranges=RANGES,
        causes=words.CAUSES,
        tests=words.EVIDENCE,
        meanings=words.MEANINGS,
    )
    return environment
