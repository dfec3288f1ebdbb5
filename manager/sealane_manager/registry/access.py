"""Asks one registry as somebody: answers its challenges and follows its redirects.

Credentials and tokens go to the registry itself and to the host that gives its tokens, over TLS or
within this machine, and nowhere else.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from sealane_manager.errors import NotKnown, Refused, RegistryError, Unreachable
from sealane_manager.registry.challenge import check_token, read_challenge, token_desk
from sealane_manager.registry.origins import led, origin_of
from sealane_manager.registry.request import Request
from sealane_manager.shown import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealane_manager.registry.challenge import Challenge, TokenDesk
    from sealane_manager.registry.credentials import Credentials
    from sealane_manager.registry.origins import Origin
    from sealane_manager.registry.wire import Answer, Wire

REDIRECTS: Final = 5
"""Registries send readers on to an object store once, some twice."""

TOKEN_ANSWER_BYTES: Final = 128 * 1024
ERROR_BYTES: Final = 16 * 1024

_MOVED: Final = frozenset({301, 302, 303, 307, 308})
_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
_MISSING: Final = 404
_BUSY: Final = 429
_BROKEN: Final = 500
_GOOD: Final = range(200, 300)


@dataclass(frozen=True, slots=True)
class Door:
    """One registry, and who comes.

    Attributes:
        name: its host, as people call it.
        scopes: what a token shall allow, e.g. `repository:vision/defect:pull`.
        token_hosts: other hosts that may be asked for tokens, as this person.
    """

    name: str
    origin: Origin
    scopes: tuple[str, ...]
    credentials: Credentials | None = None
    token_hosts: tuple[str, ...] = ()


class Access:
    """Requests to one registry. Methods raise Unreachable, Refused, NotKnown or RegistryError."""

    def __init__(self, wire: Wire, door: Door) -> None:
        self._wire, self._door = wire, door
        self._authorization = ""

    @property
    def host(self) -> str:
        """The registry's host, as people call it."""
        return self._door.name

    def address(self, path: str) -> str:
        """The address of something in the registry."""
        return f"{self._door.origin}{path}"

    @contextmanager
    def asked(self, request: Request) -> Iterator[Answer]:
        """The answer to a request; the registry is told who asks when it wants to know."""
        for last in (False, True):
            with self._followed(request) as answer:
                if answer.status != _UNAUTHORIZED:
                    yield answer
                    return
                if last or origin_of(answer.url) != self._door.origin:
                    raise self._unwelcome()
                challenge, asker = read_challenge(answer.headers("WWW-Authenticate")), answer.url
            self._authorization = self._admitted(challenge, asker)

    @contextmanager
    def right(self, request: Request, *statuses: int) -> Iterator[Answer]:
        """The answer, where it has one of these statuses; every other one is an error."""
        with self.asked(request) as answer:
            if answer.status not in statuses:
                raise self._problem(answer)
            yield answer

    @contextmanager
    def _followed(self, request: Request) -> Iterator[Answer]:
        for _ in range(REDIRECTS + 1):
            with self._wire.ask(self._authorized(request)) as answer:
                if answer.status not in _MOVED:
                    yield answer
                    return
                if request.method not in {"GET", "HEAD"}:
                    raise RegistryError(f"{self.host} moves elsewhere what is sent to it")
                request = replace(request, url=led(request.url, answer.header("Location")))
        raise RegistryError(f"{self.host} sends readers on more than {REDIRECTS} times")

    def _authorized(self, request: Request) -> Request:
        origin = origin_of(request.url)
        if not self._authorization or origin != self._door.origin:
            return request
        headers = {**request.headers, "Authorization": self._authorization}
        return replace(request, headers=headers)

    def _admitted(self, challenge: Challenge, asker: str) -> str:
        """The header that lets in."""
        credentials = self._usable()
        if challenge.scheme == "basic":
            if credentials is None or not credentials.user:
                raise self._unwelcome()
            return credentials.basic
        desk = token_desk(challenge, asker, self._door.token_hosts, self._door.scopes)
        if credentials and credentials.identity_token:
            request = _exchange(desk, credentials.identity_token)
        elif credentials:
            request = Request("GET", desk.address, {"Authorization": credentials.basic})
        else:
            request = Request("GET", desk.address)
        return f"Bearer {self._token(request)}"

    def _usable(self) -> Credentials | None:
        """The credentials, unless others could read them on the way."""
        if self._door.credentials and not self._door.origin.is_private:
            raise Refused(
                f"{self.host} wants credentials, and without TLS everybody between would see them",
                hint="give the registry a certificate and use --ca",
            )
        return self._door.credentials

    def _token(self, request: Request) -> str:
        with self._wire.ask(request) as answer:
            if answer.status in {_UNAUTHORIZED, _FORBIDDEN}:
                raise self._unwelcome()
            if answer.status not in _GOOD:
                raise self._problem(answer)
            content = answer.content(TOKEN_ANSWER_BYTES)
        try:
            found = json.loads(content)
            token = found.get("token") or found.get("access_token")
        except (ValueError, AttributeError, RecursionError) as error:
            raise RegistryError(f"{self.host} gives something else than a token") from error
        return check_token(token)

    def _unwelcome(self) -> Refused:
        who = f"{self._door.credentials.user!r}" if self._door.credentials else "nobody"
        return Refused(
            f"{self.host} does not let in {who} for {', '.join(self._door.scopes)}",
            hint=f"log in with docker, podman or skopeo to {self.host}, or use --auth-file",
        )

    def _problem(self, answer: Answer) -> Exception:
        """What an answer with a wrong status means."""
        said = _said(answer)
        status = answer.status
        if status == _MISSING:
            return NotKnown(f"{self.host} has no such thing{said}", hint="look at the reference")
        if status in {_UNAUTHORIZED, _FORBIDDEN}:
            return self._unwelcome()
        if status == _BUSY or status >= _BROKEN:
            hint = "try again later: what has arrived is kept"
            return Unreachable(f"{self.host} answered {status}{said}", hint=hint)
        return RegistryError(f"{self.host} answered {status}{said}")


def _exchange(desk: TokenDesk, identity_token: str) -> Request:
    """Ask for a token by OAuth 2, with the refresh token that `docker login` kept."""
    fixed = {"client_id": "sealane", "grant_type": "refresh_token", "refresh_token": identity_token}
    form = f"{desk.wanted}&{urlencode(fixed)}"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return Request("POST", desk.url, headers, form.encode())


def _said(answer: Answer) -> str:
    """The registry's own words, without what a terminal would obey."""
    try:
        first = json.loads(answer.content(ERROR_BYTES))["errors"][0]
        words = f": {first['code']} {first.get('message', '')}"
    except (RegistryError, Unreachable, ValueError, LookupError, TypeError, AttributeError):
        return ""
    except RecursionError:
        return ""
    return shown(words)
