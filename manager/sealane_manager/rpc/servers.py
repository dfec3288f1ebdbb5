"""Opens the manager's ports: TLS with the fleet's CA, limits that bear a storm of devices."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import grpc
from sealane.errors import SealaneError
from sealane.limits import GRPC_MESSAGE_BYTES, KIB, TARGETS_BYTES

if TYPE_CHECKING:
    Interceptor = grpc.aio.ServerInterceptor[Any, Any]

_DEVICE_MESSAGE_BYTES: Final = GRPC_MESSAGE_BYTES
_OPERATOR_MESSAGE_BYTES: Final = TARGETS_BYTES + 64 * KIB
_ENROL_MESSAGE_BYTES: Final = 64 * KIB

_OPTIONS: Final = (
    ("grpc.so_reuseport", 0),  # a second manager on the same port must fail, not share
    ("grpc.http2.bdp_probe", 0),  # a quarter less CPU for each heartbeat (measured)
    ("grpc.server.max_pending_requests", 100_000),  # all devices at once after a power cut
    ("grpc.server.max_pending_requests_hard_limit", 200_000),
    ("grpc.server_max_unrequested_time_in_server", 300),
    # A device that is gone is known by its heartbeats, and a metered one pays for each ping.
    ("grpc.keepalive_time_ms", 7_200_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.max_concurrent_streams", 64),
    ("grpc.server_handshake_timeout_ms", 20_000),
)


@dataclass(frozen=True, slots=True)
class Tls:
    """The manager's server key and certificate and the fleet's CA, PEM."""

    key: bytes
    certificate: bytes
    ca: bytes

    def public(self) -> grpc.ServerCredentials:
        """Whoever calls sees the manager's certificate and shows none."""
        return grpc.ssl_server_credentials([(self.key, self.certificate)])

    def mutual(self) -> grpc.ServerCredentials:
        """Whoever calls shows a certificate of the fleet's CA."""
        return grpc.ssl_server_credentials(
            [(self.key, self.certificate)], root_certificates=self.ca, require_client_auth=True
        )


@dataclass(frozen=True, slots=True)
class Listener:
    """Where a port listens; one more than so many connections at once is closed at once."""

    listen: str
    number: int
    connections: int


@dataclass(frozen=True, slots=True)
class Port:
    """One port: where, with which credentials, for messages of which size.

    Attributes:
        door: what every call passes before its service sees it.
    """

    name: str
    listener: Listener
    credentials: grpc.ServerCredentials
    message_bytes: int
    door: Interceptor | None = None


def fleet_port(listener: Listener, tls: Tls) -> Port:
    """The port of devices."""
    return Port("fleet", listener, tls.mutual(), _DEVICE_MESSAGE_BYTES)


def enrol_port(listener: Listener, tls: Tls) -> Port:
    """The port of machines that want to become devices."""
    return Port("enrol", listener, tls.public(), _ENROL_MESSAGE_BYTES)


def operator_port(listener: Listener, tls: Tls, door: Interceptor) -> Port:
    """The port of operators, behind their door."""
    return Port("operator", listener, tls.mutual(), _OPERATOR_MESSAGE_BYTES, door)


class Service(Protocol):
    """A servicer that knows its own name on the wire."""

    def register(self, server: grpc.aio.Server) -> None:
        """Make the server answer for this service."""
        ...


async def open_port(port: Port, *services: Service) -> tuple[grpc.aio.Server, int]:
    """Listen; returns the server and the port's real number, or raises SealaneError."""
    _check_free(port)
    limits = (
        ("grpc.max_receive_message_length", port.message_bytes),
        ("grpc.max_send_message_length", _OPERATOR_MESSAGE_BYTES),
        ("grpc.max_allowed_incoming_connections", port.listener.connections),
    )
    doors = (port.door,) if port.door else ()
    server = grpc.aio.server(interceptors=doors, options=(*_OPTIONS, *limits))
    for service in services:
        service.register(server)
    try:
        number = server.add_secure_port(
            address(port.listener.listen, port.listener.number), port.credentials
        )
    except RuntimeError as error:
        raise not_opened(port, error) from error
    await server.start()
    return server, number


def address(host: str, number: int) -> str:
    """host:port, as people and gRPC write it."""
    return f"[{host}]:{number}" if ":" in host else f"{host}:{number}"


def _check_free(port: Port) -> None:
    """Ask the system itself: its answer says why, that of gRPC does not."""
    family = socket.AF_INET6 if ":" in port.listener.listen else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((port.listener.listen, port.listener.number))
        except OSError as error:
            raise not_opened(port, error) from error


def not_opened(port: Port, error: Exception) -> SealaneError:
    """Why a port of the manager is not open, and what to do about it."""
    why = (error.strerror if isinstance(error, OSError) else "") or str(error)
    hint = f"choose another with --{port.name}-port, or stop what listens there"
    if isinstance(error, socket.gaierror) or getattr(error, "errno", 0) == errno.EADDRNOTAVAIL:
        hint = "name an address of this machine with --listen, or with --host where devices dial it"
    where = address(port.listener.listen, port.listener.number)
    return SealaneError(f"the {port.name} port {where} cannot be opened: {why}", hint=hint)
