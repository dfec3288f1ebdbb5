"""Speaks OpenID Connect with one identity provider: where it is, a code for a token, its keys.

Every call blocks. What the provider answers is bounded and checked: its own name, each signature
by an algorithm that counts, for whom a token is, until when, and for which log-in.
"""

from __future__ import annotations

import json
import ssl
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from authlib.common.errors import AuthlibBaseError
from authlib.oauth2.client import OAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from sealane_manager.errors import NotAllowed, Unreachable
from sealane_manager.people.sso import ALGORITHMS, is_safe

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sealane.clock import Clock

    from sealane_manager.people.sso import SsoSettings

SECONDS: Final = 10.0
"""One answer of the provider."""

ANSWER_BYTES: Final = 1024 * 1024
TOKEN_CHARS: Final = 64 * 1024

FRESH: Final = timedelta(hours=1)
"""How long what the provider says of itself is believed; an unknown key is asked for at once."""

LEEWAY_S: Final = 60
"""How far the provider's clock may be off."""

_PROBLEMS: Final = (OSError, ValueError)


@dataclass(frozen=True, slots=True)
class _Told:
    """What the provider says of itself."""

    authorize: str
    token: str
    keys: Mapping[str, Any]
    at: datetime


@dataclass(frozen=True, slots=True)
class Attempt:
    """One log-in on its way: secrets that only this browser's answer can match."""

    state: str
    nonce: str
    verifier: str


class Provider:
    """One identity provider, for any thread."""

    def __init__(self, settings: SsoSettings, clock: Clock) -> None:
        self._settings, self._clock = settings, clock
        self._web = _Web(settings.ca)
        self._lock = threading.Lock()
        self._told: _Told | None = None

    def address(self, attempt: Attempt) -> str:
        """Where the browser goes to log in; raises Unreachable."""
        url, _ = self._client().create_authorization_url(
            self._ask().authorize,
            state=attempt.state,
            nonce=attempt.nonce,
            code_verifier=attempt.verifier,
        )
        return str(url)

    def claims(self, code: str, attempt: Attempt) -> Mapping[str, Any]:
        """What the provider says of the person; raises NotAllowed or Unreachable."""
        client = self._client()
        try:
            answer = client.fetch_token(
                self._ask().token,
                grant_type="authorization_code",
                code=code,
                code_verifier=attempt.verifier,
            )
        except AuthlibBaseError as error:
            raise NotAllowed(f"the identity provider refused the log-in: {error.error}") from error
        except _PROBLEMS as error:
            raise Unreachable(f"the identity provider cannot be asked: {error}") from error
        return self._checked(str(answer.get("id_token", ""))[:TOKEN_CHARS], attempt)

    def _checked(self, token: str, attempt: Attempt) -> Mapping[str, Any]:
        """The claims of an ID token that is right in every part; raises NotAllowed."""
        settings = self._settings
        try:
            found = self._decoded(token)
            claims = CodeIDToken(
                dict(found.claims),
                dict(found.header),
                {
                    "iss": {"essential": True, "value": settings.issuer},
                    "aud": {"essential": True, "value": settings.client_id},
                },
                {"nonce": attempt.nonce, "client_id": settings.client_id},
            )
            claims.validate(int(self._clock.now().timestamp()), LEEWAY_S)
        except (JoseError, AuthlibBaseError, ValueError, TypeError) as error:
            raise NotAllowed(
                f"the identity provider's token is not right: {error}", hint="log in again"
            ) from error
        return dict(claims)

    def _decoded(self, token: str) -> jwt.Token:
        """Check the signature; asks for the provider's keys anew when one is not known."""
        try:
            return self._verified(token, self._ask())
        except (InvalidKeyIdError, ValueError):
            return self._verified(token, self._ask(anew=True))

    def _verified(self, token: str, told: _Told) -> jwt.Token:
        keys = KeySet.import_key_set({"keys": list(told.keys["keys"])})
        return jwt.decode(token, keys, algorithms=list(ALGORITHMS))

    def _client(self) -> Any:
        settings = self._settings
        return OAuth2Client(
            self._web,
            client_id=settings.client_id,
            client_secret=settings.secret or None,
            scope=settings.scope,
            redirect_uri=settings.redirect,
            code_challenge_method="S256",
        )

    def _ask(self, *, anew: bool = False) -> _Told:
        """What the provider says of itself, from memory while it is fresh; raises Unreachable."""
        with self._lock:
            now = self._clock.now()
            if anew or self._told is None or now - self._told.at > FRESH:
                try:
                    self._told = self._discover(now)
                except _PROBLEMS as error:
                    raise Unreachable(f"the identity provider cannot be asked: {error}") from error
            return self._told

    def _discover(self, now: datetime) -> _Told:
        issuer = self._settings.issuer
        found = self._web.get(issuer.rstrip("/") + "/.well-known/openid-configuration")
        if found.get("issuer") != issuer:
            raise ValueError(f"it calls itself {str(found.get('issuer'))[:80]!r}, not {issuer!r}")
        addresses = [str(found.get(name, "")) for name in _ADDRESSES]
        if not all(map(is_safe, addresses)):
            raise ValueError("it names an address that is not https")
        authorize, token, keys = addresses
        return _Told(authorize, token, self._web.get(keys), now)


_ADDRESSES: Final = ("authorization_endpoint", "token_endpoint", "jwks_uri")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """What is asked for lies where the provider says, not elsewhere."""

    def redirect_request(self, *_: Any) -> None:
        """Follow nothing."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """An answer as Authlib's client reads it."""

    status_code: int
    content: bytes

    def json(self) -> Any:
        """The content; raises ValueError."""
        return json.loads(self.content)

    def raise_for_status(self) -> None:
        """Raise OSError when it is an error's."""
        if self.status_code >= _FIRST_ERROR:
            raise OSError(f"it answered {self.status_code}")


_FIRST_ERROR: Final = 400


class _Web:
    """Asks over HTTP: bounded, without redirects; what Authlib calls a session."""

    def __init__(self, ca: str) -> None:
        tls = ssl.create_default_context(cafile=ca or None)
        handler = urllib.request.HTTPSHandler(context=tls)
        self._opener = urllib.request.build_opener(_NoRedirect, handler)

    def get(self, url: str) -> dict[str, Any]:
        """A JSON object; raises OSError or ValueError."""
        answer = self._asked(urllib.request.Request(url))  # noqa: S310 - `is_safe` looked at it
        answer.raise_for_status()
        found = answer.json()
        if not isinstance(found, dict):
            raise ValueError("it answered something else than an object")  # noqa: TRY004 - of JSON
        return found

    def post(self, url: str, data: Mapping[str, str], headers: Any, auth: Any) -> _Answer:
        """Send a form as the client named by `auth`; raises OSError."""
        url, headers, body = auth.prepare("POST", url, dict(headers), urlencode(data))
        content = body.encode() if isinstance(body, str) else body
        return self._asked(urllib.request.Request(url, content, headers, method="POST"))  # noqa: S310 - `is_safe` looked at it

    def _asked(self, request: urllib.request.Request) -> _Answer:
        try:
            with self._opener.open(request, timeout=SECONDS) as answer:
                return _Answer(answer.status, answer.read(ANSWER_BYTES))
        except urllib.error.HTTPError as error:
            with error:
                return _Answer(error.code, error.read(ANSWER_BYTES))
