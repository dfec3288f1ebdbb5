"""A device as the wire sees it: keys, a certificate, calls and a session, without any agent."""

from __future__ import annotations

import queue
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import grpc
from sealane import codec
from sealane.fleet import DeviceFacts, Hello, ManagerMessage, RuntimeFact, SlotReport, Welcome
from sealane.trust.identity import key_to_pem, make_csr, new_key
from sealane.wire.v1 import enrol_pb2, enrol_pb2_grpc, fleet_pb2, fleet_pb2_grpc

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from sealane.fleet import DeviceMessage
    from sealane.trust.token import JoinToken

FACTS = DeviceFacts(
    arch="x86_64",
    os="Debian 12",
    cpus=2,
    memory_bytes=2**31,
    runtimes=(RuntimeFact("onnxruntime", "1.32.0", ("cpu",)),),
    endpoint="127.0.0.1:8000",
)


@dataclass(frozen=True)
class Device:
    """One enrolled device."""

    id: str
    key: EllipticCurvePrivateKey
    certificate: bytes
    ca: bytes
    fleet_address: str
    root: bytes

    def channel(self, address: str = "") -> grpc.Channel:
        """A connection with the device's certificate; to the fleet port if none is named."""
        credentials = grpc.ssl_channel_credentials(self.ca, key_to_pem(self.key), self.certificate)
        options = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0))
        return grpc.secure_channel(address or self.fleet_address, credentials, options)

    def metadata(self, name: str) -> bytes:
        """One file of the repository."""
        with self.channel() as channel:
            stub = fleet_pb2_grpc.FleetServiceStub(channel)
            request = fleet_pb2.FetchMetadataRequest(name=name)
            return b"".join(part.chunk for part in stub.FetchMetadata(request, timeout=30))

    def blob(self, digest: str, offset: int = 0) -> bytes:
        """A blob from an offset."""
        with self.channel() as channel:
            stub = fleet_pb2_grpc.FleetServiceStub(channel)
            request = fleet_pb2.FetchBlobRequest(digest=digest, offset=offset)
            return b"".join(part.chunk for part in stub.FetchBlob(request, timeout=30))

    def session(self) -> Session:
        """An open session, before its Hello."""
        return Session(self.channel())

    def polls(self) -> Polls:
        """A conversation by polls, before its Hello."""
        return Polls(self.channel())


class Spoken:
    """A conversation with the manager, whatever carries it; blocks."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel
        self._stub = fleet_pb2_grpc.FleetServiceStub(channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def say(self, message: DeviceMessage) -> None:
        """Send one message."""
        raise NotImplementedError

    def hear(self) -> ManagerMessage:
        """The manager's next message; raises grpc.RpcError when it has ended the conversation."""
        raise NotImplementedError

    def end(self) -> grpc.RpcError:
        """Wait until the manager has ended the conversation, and return how."""
        raise NotImplementedError

    def ask(self, message: DeviceMessage) -> ManagerMessage:
        """Say something and hear the answer."""
        self.say(message)
        return self.hear()

    def greet(self, *slots: SlotReport) -> Welcome:
        """Hello and Welcome."""
        welcome = self.ask(Hello("0.1.0", "boot-1", FACTS, slots))
        assert isinstance(welcome, Welcome)
        return welcome


class Polls(Spoken):
    """A conversation by single calls; a call without a word asks for news."""

    def __init__(self, channel: grpc.Channel) -> None:
        super().__init__(channel)
        self._heard: deque[ManagerMessage] = deque()
        self._ended: grpc.RpcError | None = None

    def say(self, message: DeviceMessage) -> None:
        self._call(message)

    def hear(self) -> ManagerMessage:
        while not self._heard:
            if self._ended is not None:
                raise self._ended
            self._call()
        return self._heard.popleft()

    def end(self) -> grpc.RpcError:
        while self._ended is None:
            self._call()
        return self._ended

    def _call(self, *said: DeviceMessage) -> None:
        request = fleet_pb2.PollRequest(said=map(codec.device_message_to_wire, said))
        try:
            answers = self._stub.Poll(request, timeout=10).said
        except grpc.RpcError as error:
            self._ended = error
            return
        for answer in answers:
            heard = codec.manager_message_from_wire(answer)
            assert heard is not None
            self._heard.append(heard)


class Session(Spoken):
    """One session, blocking; `hear` raises grpc.RpcError when the manager has ended it."""

    def __init__(self, channel: grpc.Channel) -> None:
        super().__init__(channel)
        self._outgoing: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._call: Any = self._stub.Session(iter(self._outgoing.get, None), timeout=30)

    def __exit__(self, *_: object) -> None:
        self._outgoing.put(None)
        self._call.cancel()
        super().__exit__()

    def say(self, message: DeviceMessage) -> None:
        self._outgoing.put(codec.device_message_to_wire(message))

    def hear(self) -> ManagerMessage:
        message = codec.manager_message_from_wire(next(self._call))
        assert message is not None
        return message

    def end(self) -> grpc.RpcError:
        try:
            for _message in self._call:
                pass
        except grpc.RpcError as error:
            return error
        raise AssertionError("the session ended without a reason")


def apply(token: JoinToken, request: enrol_pb2.EnrolRequest) -> enrol_pb2.EnrolResponse:
    """One call of the enrol service at the token's address."""
    credentials = grpc.ssl_channel_credentials(token.ca)
    with grpc.secure_channel(token.address, credentials) as channel:
        answer: enrol_pb2.EnrolResponse = enrol_pb2_grpc.EnrolServiceStub(channel).Enrol(
            request, timeout=10
        )
        return answer


def enrol(token: JoinToken, name: str, key: EllipticCurvePrivateKey | None = None) -> Device:
    """Become a device."""
    key = key or new_key()
    request = enrol_pb2.EnrolRequest(
        token_id=token.token_id, secret=token.secret, csr=make_csr(key), requested_name=name
    )
    answer = apply(token, request)
    return Device(
        id=answer.device,
        key=key,
        certificate=answer.certificate,
        ca=token.ca,
        fleet_address=answer.fleet_address,
        root=answer.root,
    )
