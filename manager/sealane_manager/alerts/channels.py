"""Tells people and machines: webhooks, Alertmanager, mail, and services that apprise knows.

Every call blocks and may fail.
"""

from __future__ import annotations

import http.client
import json
import smtplib
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any, Final, Protocol

from sealane_manager.alerts import messages
from sealane_manager.errors import Refused, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime
    from pathlib import Path

    from apprise import Apprise

SECONDS: Final = 10.0
"""One delivery."""

SECRET_CHARS: Final = 16
"""The shortest secret of a webhook."""

_PROBLEMS: Final = (OSError, http.client.HTTPException, smtplib.SMTPException, ValueError)


class Channel(Protocol):
    """One way to tell somebody."""

    @property
    def name(self) -> str:
        """What the operator calls it."""
        ...

    def send(self, delivery: str, content: dict[str, Any], now: datetime) -> None:
        """Deliver; raises Unreachable."""
        ...


@dataclass(frozen=True, slots=True)
class Webhook:
    """Posts JSON, signed so that the receiver knows who sent it and when."""

    name: str
    url: str
    secret: str

    def send(self, delivery: str, content: dict[str, Any], now: datetime) -> None:
        """Deliver; raises Unreachable."""
        headers, body = messages.webhook(content, delivery, self.secret, int(now.timestamp()))
        _post(self.url, headers, body)


@dataclass(frozen=True, slots=True)
class Alertmanager:
    """Pushes to an Alertmanager's API, version 2; `url` is its address without a path."""

    name: str
    url: str

    def send(self, _delivery: str, content: dict[str, Any], now: datetime) -> None:
        """Deliver; raises Unreachable."""
        headers, body = messages.alertmanager(content, now)
        _post(self.url.rstrip("/") + "/api/v2/alerts", headers, body)


@dataclass(frozen=True, slots=True)
class Mail:
    """Sends mail, over TLS unless the server does not offer it; logs in only over TLS."""

    name: str
    host: str
    port: int
    sender: str
    receivers: tuple[str, ...]
    user: str = ""
    password: str = ""

    def send(self, delivery: str, content: dict[str, Any], _now: datetime) -> None:
        """Deliver; raises Unreachable."""
        message = EmailMessage()
        message["Subject"], text = messages.mail(content)
        message["From"], message["To"] = self.sender, ", ".join(self.receivers)
        message["Message-ID"] = f"<{delivery}@sealane>"
        message.set_content(text)
        try:
            with smtplib.SMTP(self.host, self.port, timeout=SECONDS) as server:
                self._log_in(server)
                server.send_message(message)
        except _PROBLEMS as error:
            raise Unreachable(f"mail by {self.host} failed: {error}") from error

    def _log_in(self, server: smtplib.SMTP) -> None:
        server.ehlo()
        if server.has_extn("starttls"):
            server.starttls(context=ssl.create_default_context())
            server.ehlo()
        elif self.user:
            raise smtplib.SMTPNotSupportedError("the server offers no TLS to log in over")
        if self.user:
            server.login(self.user, self.password)


@dataclass(frozen=True, slots=True)
class Service:
    """Tells a service by apprise, an extra; its address holds secrets and is never shown."""

    name: str
    service: Apprise

    def send(self, _delivery: str, content: dict[str, Any], _now: datetime) -> None:
        """Deliver; raises Unreachable."""
        subject, text = messages.mail(content)
        # Names of devices and sites are text here, whatever a service would make of them.
        if not self.service.notify(body=text, title=subject, body_format="text"):
            raise Unreachable(f"the service of {self.name} did not take it; the log says why")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A receiver that moved is told to whoever set it up, not followed."""

    def redirect_request(self, *_: Any) -> None:
        """Follow nothing."""


_OPENER: Final = urllib.request.build_opener(_NoRedirect)


def _post(url: str, headers: dict[str, str], body: bytes) -> None:
    request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310 - `load` lets only http and https in
    try:
        with _OPENER.open(request, timeout=SECONDS):
            return
    except urllib.error.HTTPError as error:
        error.close()
        raise Unreachable(f"{url} answered {error.code}") from error
    except _PROBLEMS as error:
        raise Unreachable(f"{url} cannot be reached: {error}") from error


def load(path: Path) -> tuple[Channel, ...]:
    """The channels in alerts.json, none when there is no such file; raises Refused."""
    if not path.exists():
        return ()
    try:
        every = _channels(json.loads(path.read_bytes()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused(
            f"{path} is not as it should be: {_why(error)}", hint="see docs/alerts.md"
        ) from error
    _check_names(every)
    return every


def _why(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"a channel lacks {error.args[0]!r}"
    if isinstance(error, TypeError | AttributeError):
        return "something in it is of another kind than it should be"
    return str(error)


def _channels(found: dict[str, Any]) -> tuple[Channel, ...]:
    made: dict[str, Callable[[dict[str, Any]], Channel]] = {
        "webhooks": _webhook,
        "alertmanagers": _alertmanager,
        "mail": _mail,
        "apprise": _service,
    }
    if unknown := sorted(found.keys() - made.keys()):
        raise ValueError(f"{unknown[0]!r} means nothing there; known are {', '.join(made)}")
    return tuple(make(fields) for kind, make in made.items() for fields in found.get(kind, []))


def _check_names(channels: Iterable[Channel]) -> None:
    names = [channel.name for channel in channels]
    if len(set(names)) != len(names):
        raise Refused("two channels for alerts have the same name")


def _webhook(fields: dict[str, Any]) -> Webhook:
    if len(fields["secret"]) < SECRET_CHARS:
        raise ValueError(f"the secret of {fields['name']} needs {SECRET_CHARS} characters")
    return Webhook(str(fields["name"]), _url(fields), str(fields["secret"]))


def _alertmanager(fields: dict[str, Any]) -> Alertmanager:
    return Alertmanager(str(fields["name"]), _url(fields))


def _mail(fields: dict[str, Any]) -> Mail:
    if not isinstance(fields["to"], list):
        raise TypeError
    return Mail(
        name=str(fields["name"]),
        host=str(fields["host"]),
        port=int(fields.get("port", 587)),
        sender=str(fields["from"]),
        receivers=tuple(map(str, fields["to"])),
        user=str(fields.get("user", "")),
        password=str(fields.get("password", "")),
    )


def _service(fields: dict[str, Any]) -> Service:
    try:
        import apprise  # noqa: PLC0415 - an extra: 15 MB that few managers need
    except ImportError as error:
        raise Refused(
            f"the channel {fields['name']} needs apprise, which is not installed",
            hint="pip install 'sealane-manager[apprise]', or use a webhook",
        ) from error
    service = apprise.Apprise()
    if not service.add(str(fields["url"])):
        raise ValueError(f"apprise does not know the kind of address that {fields['name']} has")
    return Service(str(fields["name"]), service)


def _url(fields: dict[str, Any]) -> str:
    url = str(fields["url"])
    if not url.startswith(("https://", "http://")):
        raise ValueError(f"{url} is no address of the web")
    return url
