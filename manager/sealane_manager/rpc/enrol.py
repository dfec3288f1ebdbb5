"""EnrolService: how a machine becomes a device, over server TLS with a join token."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sealane.wire.v1 import enrol_pb2 as wire
from sealane.wire.v1 import enrol_pb2_grpc

from sealane_manager.identity.enrolment import Application
from sealane_manager.identity.rejoin import Proof
from sealane_manager.rpc.answers import answering

if TYPE_CHECKING:
    import grpc

    from sealane_manager.identity.enrolment import Enrolment
    from sealane_manager.identity.rejoin import Rejoining


class EnrolService(enrol_pb2_grpc.EnrolServiceServicer):
    """Parses, asks the enrolment, converts."""

    def __init__(self, enrolment: Enrolment, rejoining: Rejoining, fleet_address: str) -> None:
        self._enrolment, self._rejoining = enrolment, rejoining
        self._fleet_address = fleet_address

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
            pending=not member.certificate,
        )

    async def Challenge(
        self, _request: wire.ChallengeRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> wire.ChallengeResponse:
        """Something to sign."""
        async with answering(context):
            return wire.ChallengeResponse(nonce=self._rejoining.challenge())
        raise AssertionError("answering ends the call")

    async def Rejoin(
        self, request: wire.RejoinRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> wire.RejoinResponse:
        """A certificate for the holder of a key whose own has expired."""
        proof = Proof(request.certificate, request.csr, request.nonce, request.signature)
        async with answering(context):
            certificate = await asyncio.to_thread(self._rejoining.rejoin, proof)
        return wire.RejoinResponse(certificate=certificate)
