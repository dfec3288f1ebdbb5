"""What an operator can set for an agent, and what enrolment wrote down."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sealane.names import DeviceId, parse_device
from sealane.settings import Catalogue, Key

from sealane_agent.errors import ENROL_ANEW, NotEnrolled
from sealane_agent.upgrade.launched import Launched

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from sealane_agent.layout import StateFolder
    from sealane_agent.upgrade.fitness import Rules

ANY_PORT = "127.0.0.1:0"

_PORT: Final = r"6553[0-5]|655[0-2]\d|65[0-4]\d\d|6[0-4]\d{3}|[1-5]\d{4}|\d{1,4}"
_ADDRESS: Final = rf"\S+:(?:{_PORT})"

AGENT: Final = Catalogue(
    program="sealane-agent",
    prefix="SEALANE_AGENT",
    file="/etc/sealane/agent.toml",
    keys=(
        Key(
            "state",
            "/var/lib/sealane-agent",
            "folder with the device's identity, trust, journal and models",
        ),
        Key(
            "endpoint.rest",
            "127.0.0.1:8000",
            "host:port of the REST door; port 0: any free",
            _ADDRESS,
            "host:port",
        ),
        Key(
            "endpoint.grpc",
            "127.0.0.1:8001",
            "host:port of the gRPC door; port 0: any free",
            _ADDRESS,
            "host:port",
        ),
        Key(
            "endpoint.socket",
            "",
            "unix socket of the REST door; empty: run/inference.sock in the state folder",
        ),
        Key("endpoint.repository", default=False, says="clients may load and unload models"),
        Key("endpoint.shared_memory", default=False, says="clients may name shared memory"),
        Key(
            "endpoint.metrics",
            "sealane",
            "names of the metrics: sealane, triton or both",
            "sealane|triton|both",
            "sealane, triton or both",
        ),
        Key(
            "worker.memory",
            0,
            "MiB that each model's process may hold at most; 0: by what it held when it was proved",
            highest=16_000_000,
        ),
        Key(
            "worker.together",
            0,
            "MiB that all models' processes may hold together; 0: what the machine has to spare",
            highest=16_000_000,
        ),
        Key(
            "worker.processors",
            0,
            "processors that each model's process may keep busy; 0: all",
            highest=4096,
        ),
        Key(
            "link.profile",
            "default",
            "metered: speak seldom, on a link whose bytes cost money",
            "default|metered",
            "default or metered",
        ),
        Key(
            "link.by",
            "auto",
            "session, poll (where streams are cut on the way), or auto: polls when they are",
            "auto|session|poll",
            "auto, session or poll",
        ),
        Key(
            "link.rate",
            0,
            "kilobytes a second that downloads may take; 0: as many as come",
            highest=1_000_000,
        ),
        Key(
            "clock.zone",
            "",
            "time zone of windows, such as Europe/Berlin; empty: the machine's",
            r"|[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}",
            "a name such as Europe/Berlin",
        ),
        Key(
            "upgrade.by",
            "package",
            "who brings new versions of the agent: its package, or a rollout of the manager",
            "package|rollout",
            "package or rollout",
        ),
        Key(
            "upgrade.downgrade",
            default=False,
            says="whether a rollout may bring a version older than the one that runs",
        ),
        Key(
            "upgrade.deadline",
            300,
            "seconds in which a new version must be in session and well, or is given up",
            highest=3600,
            lowest=10,
        ),
        Key("telemetry.record", default=True, says="record and send what requests came to"),
        Key(
            "log.form",
            "auto",
            "the supervisor's log: text, json, journal (fields), or auto: journal under systemd",
            "auto|text|json|journal",
            "auto, text, json or journal",
        ),
    ),
)
"""Everything that can be set for an agent."""


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How `sealane-agent run` behaves.

    Attributes:
        folder: the state folder.
        rest, grpc: host:port on which the endpoint listens; port 0 takes a free one.
        external_endpoint: somebody else (systemd) keeps the endpoint.
        config: the configuration file that was named; the endpoint reads it too.
        log: auto, text, json or journal.
        telemetry: what requests came to is recorded and sent.
        metered: bytes on the link cost money.
        link: session, poll or auto.
        rate_kb: kilobytes a second that downloads may take; 0 is no limit.
        zone: name of the time zone of windows; empty is the machine's.
        upgrade: how rollouts may bring versions of the agent; None leaves them to its package.
        launched: which version this process is.
    """

    folder: StateFolder
    rest: str
    grpc: str
    external_endpoint: bool = False
    config: Path | None = None
    log: str = "text"
    telemetry: bool = True
    metered: bool = False
    link: str = "auto"
    rate_kb: int = 0
    zone: str = ""
    upgrade: Rules | None = None
    launched: Launched = field(default_factory=Launched)


@dataclass(frozen=True, slots=True)
class Identity:
    """What enrolment wrote down: who this device is and where its manager listens."""

    device: DeviceId
    fleet: str
    address: str
    enrol_address: str = ""

    def encode(self) -> bytes:
        """JSON, for people too."""
        fields = {
            "device": self.device,
            "fleet": self.fleet,
            "fleet_address": self.address,
            "enrol_address": self.enrol_address,
        }
        return json.dumps(fields, indent=2).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class IdentityFiles:
    """The files of an identity."""

    folder: Path

    @property
    def key(self) -> Path:
        """The device's private key, PEM."""
        return self.folder / "device.key"

    @property
    def certificate(self) -> Path:
        """Its certificate, PEM."""
        return self.folder / "device.pem"

    @property
    def next_key(self) -> Path:
        """The key that will follow, PEM; there while a renewal is under way."""
        return self.folder / "next.key"

    @property
    def next_certificate(self) -> Path:
        """Its certificate, PEM; there until it has opened a session."""
        return self.folder / "next.pem"

    @property
    def ca(self) -> Path:
        """The fleet's CA certificate, PEM."""
        return self.folder / "ca.pem"

    @property
    def description(self) -> Path:
        """Written last: with it the device is enrolled."""
        return self.folder / "device.json"

    def read(self) -> Identity:
        """Who this device is; raises NotEnrolled."""
        try:
            fields: dict[str, Any] = json.loads(self.description.read_bytes())
            device = parse_device(fields["device"])
            return Identity(
                device,
                str(fields["fleet"]),
                str(fields["fleet_address"]),
                str(fields.get("enrol_address", "")),
            )
        except FileNotFoundError as error:
            raise NotEnrolled(
                f"{self.folder.parent} holds no enrolled device",
                hint="make a token with `sealane device token`, then run `sealane-agent enroll`",
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise NotEnrolled(
                f"{self.description} is damaged", hint=f"move {self.folder} away, {ENROL_ANEW}"
            ) from error
