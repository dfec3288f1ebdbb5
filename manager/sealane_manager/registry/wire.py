"""Sends one HTTP request and reads its answer in parts: no redirect, no retry, nothing unpacked."""

from __future__ import annotations

import http.client
import ssl
import urllib.request
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, SSLError
from urllib3.util import Timeout, make_headers

from sealane_manager.errors import Refused, RegistryError, Unreachable
from sealane_manager.registry.origins import origin_of
from sealane_manager.shown import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from sealane_manager.registry.request import Request

CONNECT_SECONDS: Final = 10.0
PART_BYTES: Final = 64 * 1024

_ALWAYS: Final = {"Accept-Encoding": "identity", "User-Agent": "sealane"}
_PROBLEMS: Final = (HTTPError, http.client.HTTPException, OSError, ValueError)


class Answer:
    """What came back; the body is read in parts, as it comes."""

    def __init__(self, url: str, raw: urllib3.BaseHTTPResponse) -> None:
        self.url, self.status = url, raw.status
        self._raw = raw

    def header(self, name: str) -> str:
        """A header, or empty."""
        return str(self._raw.headers.get(name, ""))

    def headers(self, name: str) -> tuple[str, ...]:
        """Every header of one name."""
        return tuple(self._raw.headers.getlist(name))

    def parts(self) -> Iterator[bytes]:
        """The body as it arrives; raises Unreachable, RegistryError when it is compressed."""
        if self.header("Content-Encoding") not in {"", "identity"}:
            raise RegistryError("the registry compresses what it was asked for as it is")
        with _told(self.url):
            while part := self._raw.read1(PART_BYTES, decode_content=False):
                yield part

    def content(self, limit: int) -> bytes:
        """The whole body; raises RegistryError above `limit` bytes, and what `parts` raises."""
        content = b""
        for part in self.parts():
            content += part
            if len(content) > limit:
                raise RegistryError(f"the registry answers with more than {limit} bytes")
        return content


class Wire:
    """Connections to any servers, kept for the next request."""

    def __init__(self, authority: Path | None = None) -> None:
        self._authority = authority
        self._pools: dict[tuple[str, str], urllib3.PoolManager] = {}

    def close(self) -> None:
        """Hang up everywhere."""
        for pool in self._pools.values():
            pool.clear()

    @contextmanager
    def ask(self, request: Request) -> Iterator[Answer]:
        """Send a request; raises Unreachable."""
        with _told(request.url):
            raw = self._pool(request.url).urlopen(
                request.method,
                request.url,
                body=request.body,
                headers={**_ALWAYS, **request.headers},
                timeout=Timeout(connect=CONNECT_SECONDS, read=request.seconds),
                preload_content=False,
                decode_content=False,
                redirect=False,
                retries=False,
            )
        try:
            yield Answer(request.url, raw)
            with _told(request.url):
                # Nothing left to read: the connection serves the next request.
                if not raw.read1(PART_BYTES, decode_content=False):
                    raw.release_conn()
        finally:
            raw.close()

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """Made when it is needed: it reads every authority of the system."""
        return _context(self._authority)

    def _pool(self, url: str) -> urllib3.PoolManager:
        proxy, scheme = _proxy(url), origin_of(url).scheme
        if (scheme, proxy) not in self._pools:
            self._pools[scheme, proxy] = self._made(scheme, proxy)
        return self._pools[scheme, proxy]

    def _made(self, scheme: str, proxy: str) -> urllib3.PoolManager:
        tls = self._tls if "https" in {scheme, proxy.partition(":")[0]} else None
        if not proxy:
            return urllib3.PoolManager(ssl_context=tls)
        headers = _proxy_headers(proxy)
        return urllib3.ProxyManager(proxy, proxy_headers=headers, ssl_context=tls)


@contextmanager
def _told(url: str) -> Iterator[None]:
    """Turn what goes wrong on the way into one line."""
    try:
        yield
    except SSLError as error:
        if "CERTIFICATE" not in str(error):
            hint = "a registry on this machine that has none is asked with --plain-http"
            raise Unreachable(f"{origin_of(url)} speaks no TLS{_why(error)}", hint=hint) from error
        raise Unreachable(
            f"{origin_of(url)} has no certificate that is trusted here{_why(error)}",
            hint="name its authority with --ca, or put right the name that you call it by",
        ) from error
    except _PROBLEMS as error:
        raise Unreachable(
            f"{origin_of(url)} cannot be reached{_why(error)}",
            hint="look at the network, then again",
        ) from error


def _why(error: Exception) -> str:
    """What the library says, without the name that it gives to the connection."""
    return f": {shown(str(error).rpartition('): ')[2])}"


def _context(authority: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=authority)
    except (OSError, ssl.SSLError) as error:
        raise Refused(
            f"{authority} is no certificate authority: {error}", hint="--ca takes a PEM file"
        ) from error


def _proxy(url: str) -> str:
    """The proxy that the environment names for an address, or empty."""
    origin = origin_of(url)
    if origin.is_loopback or urllib.request.proxy_bypass(origin.host):
        return ""
    return urllib.request.getproxies().get(origin.scheme, "")


def _proxy_headers(proxy: str) -> Mapping[str, str]:
    parts = urlsplit(proxy)
    if not parts.username:
        return {}
    both = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return make_headers(proxy_basic_auth=both)
