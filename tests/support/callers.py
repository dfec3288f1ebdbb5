"""Operators of a running manager: certificates with roles, and every method of their port."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message_factory import GetMessageClass
from sealane.wire.v1 import (
    alerts_pb2,
    audit_pb2,
    calendars_pb2,
    exports_pb2,
    kits_pb2,
    operator_pb2,
    orders_pb2,
    rollouts_pb2,
    samples_pb2,
)
from sealane_manager.cli.main import app
from sealane_manager.operator_folder import AUTHORITY, CERTIFICATE, KEY
from typer.testing import CliRunner

if TYPE_CHECKING:
    from pathlib import Path

    from google.protobuf.descriptor import MethodDescriptor
    from support.manager import RunningManager

FILES = (
    alerts_pb2,
    audit_pb2,
    calendars_pb2,
    exports_pb2,
    kits_pb2,
    operator_pb2,
    orders_pb2,
    rollouts_pb2,
    samples_pb2,
)


def methods() -> dict[str, MethodDescriptor]:
    """Every method that a `.proto` file gives the operators' port, as METHODS names it."""
    services = [each for file in FILES for each in file.DESCRIPTOR.services_by_name.values()]
    return {
        f"{service.name}/{method.name}": method
        for service in services
        for method in service.methods
    }


def sealane(manager: RunningManager, *words: str) -> str:
    """What a command prints that works on the manager's state folder; it must succeed."""
    done = CliRunner().invoke(app, [*words, "--state", str(manager.state.root)])
    assert done.exit_code == 0, done.output
    return done.output


def certified(manager: RunningManager, folder: Path, role: str, *sites: str) -> Path:
    """The context of a new operator who is called like the folder."""
    options = [word for site in sites for word in ("--site", site)]
    sealane(manager, "operator", "issue", folder.name, str(folder), "--role", role, *options)
    return folder


def channel(manager: RunningManager, context: Path) -> grpc.Channel:
    """A connection to the operators' port."""
    parts = ((context / name).read_bytes() for name in (AUTHORITY, KEY, CERTIFICATE))
    credentials = grpc.ssl_channel_credentials(*parts)
    options = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0))
    return grpc.secure_channel(manager.addresses.operator, credentials, options)


def call(
    channel: grpc.Channel, method: MethodDescriptor, request: Any = None, patience_s: float = 60
) -> Any:
    """Call a method, with an empty message if none is given; the first answer."""
    given = GetMessageClass(method.input_type)() if request is None else request
    wires: Any = (
        lambda each: each.SerializeToString(),
        GetMessageClass(method.output_type).FromString,
    )
    path = f"/{method.containing_service.full_name}/{method.name}"
    if method.client_streaming:
        return channel.stream_unary(path, *wires)(iter((given,)), timeout=patience_s)
    if method.server_streaming:
        return next(iter(channel.unary_stream(path, *wires)(given, timeout=patience_s)), None)
    return channel.unary_unary(path, *wires)(given, timeout=patience_s)
