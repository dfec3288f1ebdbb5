"""An identity provider over real HTTP on loopback: it logs in whoever it is told, right or wrong.

It keeps to OpenID Connect: discovery, keys, codes that work once, PKCE, client authentication.
What an attack test changes is one field of it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sealane.clock import Clock

CLIENT, SECRET = "sealane", "a secret of this client"


@dataclass
class IdentityProvider:
    """What it says and does; `claims` and `token` are changed by whoever tests it."""

    clock: Clock
    issuer: str = ""
    user: str = "ada"
    groups: list[str] = field(default_factory=lambda: ["operators"])
    claims: dict[str, Any] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    sign: Callable[[dict[str, Any]], str] | None = None
    says_issuer: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    key: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256", {"kid": "k1"}))
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def settings(self, **changes: Any) -> dict[str, Any]:
        """sso.json for this provider."""
        return {
            "name": "Example ID",
            "issuer": self.issuer,
            "client_id": CLIENT,
            "client_secret": SECRET,
            "address": "https://manager.example",
            "roles": [
                {"group": "operators", "role": "operator"},
                {"group": "berlin-approvers", "role": "approver", "sites": ["berlin"]},
                {"group": "admins", "role": "admin"},
            ],
            **changes,
        }

    def log_in(self, address: str) -> str:
        """What a browser does at the provider's address: returns where it is sent back to."""
        asked = {name: found[0] for name, found in parse_qs(urlsplit(address).query).items()}
        self.asked.append(asked)
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def discovery(self) -> dict[str, str]:
        """What it says of itself."""
        return {
            "issuer": self.says_issuer or self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
        }

    def keys(self) -> dict[str, Any]:
        """Its public keys."""
        return {"keys": [self.key.as_dict(private=False)]}

    def token(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """A code for a token, once, for the client that asked with the matching challenge."""
        asked = self._codes.pop(form.get("code", ""), None)
        client = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        challenge = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        proved = base64.urlsafe_b64encode(challenge).rstrip(b"=").decode()
        if authorization != f"Basic {client}":
            return self._refuse("invalid_client")
        if not asked or asked["code_challenge"] != proved:
            return self._refuse("invalid_grant")
        if form.get("redirect_uri") != asked["redirect_uri"]:
            return self._refuse("invalid_grant")
        token = (self.sign or self.signed)(self.claims_for(asked))
        return 200, {"access_token": "t", "token_type": "Bearer", "id_token": token}

    def claims_for(self, asked: dict[str, str]) -> dict[str, Any]:
        """What the token says of the person."""
        now = int(self.clock.now().timestamp())
        found = {
            "iss": self.issuer,
            "sub": f"id-of-{self.user}",
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
            "preferred_username": self.user,
            "groups": self.groups,
            **self.claims,
        }
        return {name: value for name, value in found.items() if name not in self.drop}

    def signed(self, claims: dict[str, Any]) -> str:
        """A token with its own signature."""
        return jwt.encode({"alg": "ES256", "kid": "k1"}, claims, self.key)

    def _refuse(self, error: str) -> tuple[int, dict[str, Any]]:
        self.refused.append(error)
        return 400, {"error": error}


def unsigned(claims: dict[str, Any]) -> str:
    """A token that claims to need no signature."""
    parts = ({"alg": "none"}, claims)
    texts = (base64.urlsafe_b64encode(json.dumps(part).encode()) for part in parts)
    return ".".join(text.rstrip(b"=").decode() for text in texts) + "."


def signed_with_public_key(provider: IdentityProvider) -> Callable[[dict[str, Any]], str]:
    """Tokens whose shared secret is the provider's public key, which everybody knows."""
    secret = OctKey.import_key(json.dumps(provider.keys()).encode())
    return lambda claims: jwt.encode({"alg": "HS256", "kid": "k1"}, claims, secret)


def signed_by_stranger(claims: dict[str, Any]) -> str:
    """A token signed with another key under the provider's key's name."""
    return jwt.encode({"alg": "ES256", "kid": "k1"}, claims, ECKey.generate_key("P-256"))


@contextmanager
def an_identity_provider(clock: Clock) -> Iterator[IdentityProvider]:
    """A running one."""
    provider = IdentityProvider(clock)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/.well-known/openid-configuration":
                self._answer(200, provider.discovery())
            elif self.path == "/keys":
                self._answer(200, provider.keys())
            else:
                self._answer(404, {})

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: found[0] for name, found in parse_qs(content).items()}
            self._answer(*provider.token(form, self.headers.get("Authorization", "")))

        def _answer(self, status: int, body: dict[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider.issuer = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
