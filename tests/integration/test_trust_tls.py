"""The certificates on a real connection: who is let in, and who is not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import grpc
import pytest
from sealane.names import DeviceId
from sealane.trust.identity import key_to_pem, make_csr, new_key, parse_peer
from sealane_manager.identity.ca import Issuer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEVICE = DeviceId("press-7")
METHOD = "/test.Trust/WhoAmI"


def _who_am_i(_: bytes, context: grpc.ServicerContext) -> bytes:
    return b"\n".join(context.peer_identities() or ())


@dataclass(frozen=True)
class Identity:
    """A key with its certificate, PEM."""

    key: bytes
    certificate: bytes


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer.create(tmp_path / "ca", "acme")


def _server_identity(issuer: Issuer) -> Identity:
    server = issuer.sign_server(["localhost", "127.0.0.1"])
    return Identity(server.key, server.certificate)


def _device_identity(issuer: Issuer) -> Identity:
    key = new_key()
    return Identity(key_to_pem(key), issuer.sign_device(make_csr(key), "acme", DEVICE))


class Listening:
    """A server that asks for certificates of a fleet."""

    def __init__(self, issuer: Issuer, identity: Identity) -> None:
        self._server = grpc.server(ThreadPoolExecutor(1))
        handler = grpc.unary_unary_rpc_method_handler(_who_am_i, bytes, bytes)
        service = grpc.method_handlers_generic_handler("test.Trust", {"WhoAmI": handler})
        self._server.add_generic_rpc_handlers((service,))
        credentials = grpc.ssl_server_credentials(
            [(identity.key, identity.certificate)], issuer.certificate, require_client_auth=True
        )
        self.port = self._server.add_secure_port("127.0.0.1:0", credentials)

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait()


def _ask(port: int, ca: bytes, identity: Identity | None, host: str = "localhost") -> str:
    credentials = grpc.ssl_channel_credentials(
        ca, identity.key if identity else None, identity.certificate if identity else None
    )
    with grpc.secure_channel(f"{host}:{port}", credentials) as channel:
        answer: bytes = channel.unary_unary(METHOD, bytes, bytes)(b"", timeout=30)
    return answer.decode()


@pytest.fixture
def listening(issuer: Issuer) -> Iterator[Listening]:
    with Listening(issuer, _server_identity(issuer)) as server:
        yield server


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_device_is_known_by_its_certificate(
    issuer: Issuer, listening: Listening, host: str
) -> None:
    name = _ask(listening.port, issuer.certificate, _device_identity(issuer), host)
    assert parse_peer(name).name == "press-7"


def _refused(port: int, ca: bytes, identity: Identity | None) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        _ask(port, ca, identity)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_nobody_enters_without_a_certificate(issuer: Issuer, listening: Listening) -> None:
    _refused(listening.port, issuer.certificate, None)


def test_a_device_of_another_fleet_does_not_enter(
    issuer: Issuer, listening: Listening, tmp_path: Path
) -> None:
    stranger = Issuer.create(tmp_path / "other", "acme")
    _refused(listening.port, issuer.certificate, _device_identity(stranger))


def test_a_manager_of_another_fleet_is_not_believed(
    issuer: Issuer, listening: Listening, tmp_path: Path
) -> None:
    other = Issuer.create(tmp_path / "other", "acme")
    _refused(listening.port, other.certificate, _device_identity(issuer))


def test_the_managers_certificate_does_not_make_a_device(
    issuer: Issuer, listening: Listening
) -> None:
    _refused(listening.port, issuer.certificate, _server_identity(issuer))


def test_a_devices_certificate_does_not_make_a_manager(issuer: Issuer) -> None:
    with Listening(issuer, _device_identity(issuer)) as impostor:
        _refused(impostor.port, issuer.certificate, _device_identity(issuer))
