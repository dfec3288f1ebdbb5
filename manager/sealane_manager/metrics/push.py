"""Pushes metrics over OTLP (HTTP with protocol buffers) every so often.

Nothing waits here: a push that fails is forgotten, because the next one says everything that it
said. An endpoint that stays away is one line in the log and one alert, until it answers again.
"""

from __future__ import annotations

import gzip
import http.client
import logging
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError

from sealane_manager.alerts.types import ExportTrouble
from sealane_manager.errors import Refused, Unreachable
from sealane_manager.metrics import otlp
from sealane_manager.metrics.families import families

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from sealane_manager.metrics.otlp import Origin
    from sealane_manager.metrics.survey import Survey

PATH: Final = "/v1/metrics"
SECONDS: Final = 10.0
"""One push."""

ANSWER_BYTES: Final = 64 * 1024
HEADERS_BYTES: Final = 64 * 1024
REASON_CHARS: Final = 300
_NS: Final = 1_000_000_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where metrics go.

    Attributes:
        address: of the receiver without `/v1/metrics`; empty: nothing is pushed.
        every: between two pushes.
        headers: sent with each; they may hold a secret.
        authority: PEM file with the certificate authority of the receiver; none: the system's.
    """

    address: str = ""
    every: timedelta = timedelta(seconds=60)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    authority: Path | None = None


class Push:
    """Pushes what a survey finds; `push` blocks, and is called by one thread at a time."""

    def __init__(self, endpoint: Endpoint, survey: Survey, origin: Origin) -> None:
        self._endpoint, self._survey, self._origin = endpoint, survey, origin
        self._opener = _opener(endpoint.authority)
        self._trouble: ExportTrouble | None = None

    @property
    def troubles(self) -> tuple[ExportTrouble, ...]:
        """Why the last push failed, if it did."""
        return (self._trouble,) if self._trouble else ()

    def push(self, now: datetime) -> None:
        """Push once; a failure is noted, and raised by nobody."""
        moment = int(now.timestamp() * _NS)
        body = otlp.encoded(families(self._survey.look()), self._origin, moment)
        try:
            self._post(gzip.compress(body, 5))
        except Unreachable as error:
            self._failed(str(error)[:REASON_CHARS])
        else:
            if self._trouble:
                _log.info("metrics are pushed again: address=%s", self._endpoint.address)
            self._trouble = None

    def _failed(self, reason: str) -> None:
        if self._trouble is None:
            _log.warning("metrics are not pushed: %s", reason)
        self._trouble = ExportTrouble(self._endpoint.address, reason)

    def _post(self, body: bytes) -> None:
        """Raises Unreachable."""
        url = self._endpoint.address.rstrip("/") + PATH
        headers = {
            **self._endpoint.headers,
            "Content-Type": otlp.CONTENT_TYPE,
            "Content-Encoding": "gzip",
        }
        request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310 - the configuration lets only http and https in
        try:
            with self._opener.open(request, timeout=SECONDS) as answer:
                partly = otlp.refused(answer.read(ANSWER_BYTES))
        except urllib.error.HTTPError as error:
            error.close()
            raise Unreachable(f"{url} answered {error.code}") from error
        except (OSError, http.client.HTTPException, DecodeError, ValueError) as error:
            raise Unreachable(f"{url} cannot be reached: {error}") from error
        if partly:
            raise Unreachable(f"{url}: {partly}")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A receiver that moved is told to whoever set it up; headers are for this one alone."""

    def redirect_request(self, *_: object) -> None:
        """Follow nothing."""


def _opener(authority: Path | None) -> urllib.request.OpenerDirector:
    try:
        context = ssl.create_default_context(cafile=authority)
    except (OSError, ssl.SSLError) as error:
        raise Refused(
            f"{authority} is no certificate authority: {error}", hint="see otlp.authority"
        ) from error
    return urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _NoRedirect)


def read_headers(path: Path) -> dict[str, str]:
    """A file with one `Name: value` a line; raises Refused."""
    try:
        return _parsed(path.read_bytes())
    except (OSError, ValueError) as error:
        raise Refused(f"{path} holds no headers: {error}", hint="see otlp.headers") from error


def _parsed(content: bytes) -> dict[str, str]:
    if len(content) > HEADERS_BYTES:
        raise ValueError(f"it is larger than {HEADERS_BYTES} bytes")
    lines = [line.strip() for line in content.decode("ascii").splitlines()]
    pairs = [line.partition(":") for line in lines if line and not line.startswith("#")]
    if not all(name.strip() and colon for name, colon, _ in pairs):
        raise ValueError("each line is `Name: value`")
    return {name.strip(): value.strip() for name, _, value in pairs}
