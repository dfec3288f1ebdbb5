"""EnrolService: how a machine becomes a device, over server TLS with a join token."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sealane.wire.v1 import enrol_pb2 as wire
from sealane.wire.v1 import enrol_pb2_grpc

from sealane_manager.identity.enrolment import Application
from sealane_manager.rpc.answers import answering

if TYPE_CHECKING:
    import grpc

    from sealane_manager.identity.enrolment import Enrolment


class EnrolService(enrol_pb2_grpc.EnrolServiceServicer):
    """Parses, asks the enrolment, converts."""

    def __init__(self, enrolment: Enrolment, fleet_address: str) -> None:
        self._enrolment, self._fleet_address = enrolment, fleet_address

    def register(self, server: grpc.aio.Server) -> None:
        """Make the server answer for this service."""
        enrol_pb2_grpc.add_EnrolServiceServicer_to_server(self, server)

    async def Enrol(
        self, request: wire.EnrolRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> wire.EnrolResponse:
        """A certificate for the bearer of a join token."""
        application = Application(
            request.token_id, request.secret, request.csr, request.requested_name
        )
        async with answering(context):
            member = await asyncio.to_thread(self._enrolment.enrol, application)
        return wire.EnrolResponse(
            device=member.device,
            fleet=member.fleet,
            certificate=member.certificate,
            fleet_address=self._fleet_address,
            root=member.root,
        )
