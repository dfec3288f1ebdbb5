"""The agent's side of the wire: the session, and what is fetched beside it, over mutual TLS.

The session lives on the event loop; downloads block and are called from threads, on a channel of
their own, so that a large blob never delays a heartbeat.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.experimental
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.hashes import SHA256
from sealane import codec, limits
from sealane.errors import BundleError, SealaneError
from sealane.trust import identity
from sealane.trust.source import MetadataMissing
from sealane.wire.v1 import enrol_pb2, enrol_pb2_grpc, fleet_pb2, fleet_pb2_grpc

from sealane_agent.errors import Refused, Unreachable
from sealane_agent.identity.held import HeldKey
from sealane_agent.identity.membership import Admission
from sealane_agent.uplink.fetch import SourceTrouble
from sealane_agent.uplink.profile import DEFAULT
from sealane_agent.uplink.watchdog import watched_answers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sealane.fleet import DeviceMessage, ManagerMessage
    from sealane.names import Digest

    from sealane_agent.identity.membership import Application, Membership
    from sealane_agent.uplink.fetch import Base
    from sealane_agent.uplink.profile import Profile
    from sealane_agent.uplink.rate import Rate

# A link that was cut is noticed by pings; a channel without calls is silent.
_OPTIONS: Final = (
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.max_receive_message_length", limits.GRPC_MESSAGE_BYTES),
    ("grpc.max_send_message_length", limits.GRPC_MESSAGE_BYTES),
    ("grpc.enable_http_proxy", 0),
)
_ENROL_DEADLINE_S: Final = 30.0
_POLL_DEADLINE_S: Final = 20.0
_GREETING_DEADLINE_S: Final = 10.0
_METADATA_DEADLINE_S: Final = 60.0
_BLOB_DEADLINE_S: Final = 3600.0
_CHANNELS: Final = 2
"""A channel whose certificate was renewed lives until the next renewal."""

_OF_DATES: Final = ("certificate has expired", "certificate is not yet valid")

_OF_OTHERS: Final = ("CERTIFICATE_VERIFY_FAILED", "Hostname Verification Check failed")

_HINT_KEY: Final = "sealane-hint-bin"

_UNREACHABLE: Final = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}
)
_CLOSED: Final = "the session is closed"
_REFUSED: Final = frozenset(
    {grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.NOT_FOUND}
)


class SessionEnded(Exception):  # noqa: N818 - the word says what happened
    """The session is over, with the manager's or the network's reason.

    Attributes:
        refused: the manager does not want this device; trying again soon helps nobody.
    """

    def __init__(self, reason: str, *, refused: bool = False) -> None:
        super().__init__(reason)
        self.refused = refused


class Line:
    """One open session."""

    def __init__(self, membership: Membership, profile: Profile = DEFAULT) -> None:
        # The stubs' types know only the blocking calls.
        self._channel: Any = grpc.aio.secure_channel(
            membership.address, _mutual(membership), options=_options(profile)
        )
        stub: Any = fleet_pb2_grpc.FleetServiceStub(self._channel)
        self._call: Any = stub.Session()

    async def say(self, message: DeviceMessage) -> None:
        """Send one message; raises SessionEnded."""
        try:
            await self._call.write(codec.device_message_to_wire(message))
        except grpc.aio.AioRpcError as error:
            raise _ended(error) from error
        except (grpc.aio.UsageError, asyncio.InvalidStateError) as error:
            raise await self._why_closed() from error

    async def hear(self) -> ManagerMessage | None:
        """The next message, None for one of an unknown kind; raises SessionEnded."""
        try:
            answer: Any = await self._call.read()
            if isinstance(answer, fleet_pb2.SessionResponse):
                return codec.manager_message_from_wire(answer)
        except grpc.aio.AioRpcError as error:
            raise _ended(error) from error
        except SealaneError as error:
            raise SessionEnded(f"the manager's message cannot be read: {error}") from error
        raise SessionEnded("the manager closed the session")

    async def _why_closed(self) -> SessionEnded:
        """What ended a call on which nothing can be said any more."""
        if not self._call.done():
            return SessionEnded(_CLOSED)
        refused = await self._call.code() in _REFUSED
        return SessionEnded(str(await self._call.details() or _CLOSED), refused=refused)

    async def close(self) -> None:
        """Hang up."""
        self._call.cancel()
        await self._channel.close()


class Calls:
    """One conversation by single calls: what `polled.Polled` makes a line of."""

    def __init__(self, membership: Membership, profile: Profile = DEFAULT) -> None:
        self._channel: Any = grpc.aio.secure_channel(
            membership.address, _mutual(membership), options=_options(profile)
        )
        self._stub: Any = fleet_pb2_grpc.FleetServiceStub(self._channel)

    def size(self, message: DeviceMessage) -> int:
        """Bytes of a message on the wire."""
        return codec.device_message_to_wire(message).ByteSize()

    async def exchange(self, said: Sequence[DeviceMessage]) -> list[ManagerMessage | None]:
        """Say it, and hear the answers, None for one of an unknown kind; raises SessionEnded."""
        request = fleet_pb2.PollRequest(said=map(codec.device_message_to_wire, said))
        try:
            answer = await self._stub.Poll(request, timeout=_POLL_DEADLINE_S)
            return [codec.manager_message_from_wire(each) for each in answer.said]
        except grpc.aio.AioRpcError as error:
            raise _ended(error) from error
        except SealaneError as error:
            raise SessionEnded(f"the manager's message cannot be read: {error}") from error

    async def close(self) -> None:
        """Make no more calls."""
        await self._channel.close()


class Downloads:
    """Metadata and blobs from the manager; a source of both, for threads.

    A new membership is used for every new download; those under way end as they began.
    """

    def __init__(self, membership: Callable[[], Membership], profile: Profile = DEFAULT) -> None:
        self._membership, self._profile = membership, profile
        self._lock = threading.Lock()
        self._shown: Membership | None = None
        self._channels: deque[grpc.Channel] = deque()

    def _stub(self) -> fleet_pb2_grpc.FleetServiceStub:
        with self._lock:
            membership = self._membership()
            if membership is not self._shown:
                self._shown = membership
                credentials = _mutual(membership)
                options = _options(self._profile)
                channel = grpc.secure_channel(membership.address, credentials, options=options)
                self._channels.append(channel)
            while len(self._channels) > _CHANNELS:
                self._channels.popleft().close()
            return fleet_pb2_grpc.FleetServiceStub(self._channels[-1])

    def metadata(self, name: str) -> Iterator[bytes]:
        """One TUF file in chunks; raises MetadataMissing or SourceTrouble."""
        request = fleet_pb2.FetchMetadataRequest(name=name)
        call: Any = self._stub().FetchMetadata(request, timeout=_METADATA_DEADLINE_S)
        try:
            for answer in call:
                yield answer.chunk
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                raise MetadataMissing(name) from error
            raise SourceTrouble(_reason(error)) from error
        finally:
            call.cancel()

    def blob(self, digest: Digest, offset: int) -> Iterator[bytes]:
        """One blob from an offset in chunks; raises SourceTrouble."""
        for answer in self._answers(fleet_pb2.FetchBlobRequest(digest=digest, offset=offset)):
            yield answer.chunk

    def patched(self, digest: Digest, base: Base) -> Iterator[bytes]:
        """One blob as a whole, by a patch if the manager has one; raises SourceTrouble."""
        request = fleet_pb2.FetchBlobRequest(digest=digest, base=base.digest)
        answers = self._answers(request)
        first = next(answers, None)
        if first is None:
            return
        chunks = (answer.chunk for answer in itertools.chain((first,), answers))
        if not first.patch:
            yield from chunks
            return
        from sealane.patches import applied  # noqa: PLC0415 - many devices never get a patch: 0.3 MB

        try:
            yield from applied(base.path.read_bytes(), chunks)
        except (BundleError, OSError) as error:
            raise SourceTrouble(str(error)) from error

    def _answers(
        self, request: fleet_pb2.FetchBlobRequest
    ) -> Iterator[fleet_pb2.FetchBlobResponse]:
        call: Any = self._stub().FetchBlob(request, timeout=_BLOB_DEADLINE_S)
        try:
            yield from watched_answers(call)
        except grpc.RpcError as error:
            raise SourceTrouble(_reason(error)) from error
        finally:
            call.cancel()

    def close(self) -> None:
        """End every download."""
        for channel in self._channels:
            channel.close()


class ManagerMetadata:
    """The metadata half of the downloads, as the verifier wants it."""

    def __init__(self, downloads: Downloads) -> None:
        self._downloads = downloads

    def fetch(self, name: str, limit: int) -> Iterator[bytes]:  # noqa: ARG002 - the reader bounds it
        """One file; raises MetadataMissing or SourceTrouble."""
        return self._downloads.metadata(name)


class ManagerBlobs:
    """The blob half of the downloads, as the fetcher wants it."""

    def __init__(self, downloads: Downloads, rate: Rate) -> None:
        self._downloads, self._rate = downloads, rate

    def fetch(self, digest: Digest, offset: int) -> Iterator[bytes]:
        """One blob; raises SourceTrouble."""
        return self._rate.kept(self._downloads.blob(digest, offset))

    def patched(self, digest: Digest, base: Base) -> Iterator[bytes]:
        """One blob, by a patch if there is one; raises SourceTrouble."""
        return self._rate.kept(self._downloads.patched(digest, base))


def renew(membership: Membership, csr: bytes, lifetime_s: int = 0) -> bytes:
    """Ask for a certificate of another key, PEM; raises Refused or Unreachable.

    `lifetime_s` is how long it should live, 0 as the manager has it.
    """
    address = membership.address
    with grpc.secure_channel(address, _mutual(membership), options=_options(DEFAULT)) as channel:
        try:
            stub = fleet_pb2_grpc.FleetServiceStub(channel)
            request = fleet_pb2.RenewRequest(csr=csr, lifetime_s=lifetime_s)
            answer = stub.Renew(request, timeout=_ENROL_DEADLINE_S)
        except grpc.RpcError as error:
            raise _unanswered(address, error) from error
    return answer.certificate


def rejoin(membership: Membership, csr: bytes) -> bytes:
    """Ask for a certificate of another key when one's own has expired, PEM.

    Raises Refused or Unreachable.
    """
    address = membership.enrol_address
    if not address:
        raise Refused("this device does not know where to rejoin")
    credentials = grpc.ssl_channel_credentials(membership.ca)
    with grpc.secure_channel(address, credentials, options=_options(DEFAULT)) as channel:
        try:
            stub = enrol_pb2_grpc.EnrolServiceStub(channel)
            asked = enrol_pb2.ChallengeRequest()
            nonce = stub.Challenge(asked, timeout=_ENROL_DEADLINE_S).nonce
            signature = identity.prove(membership.key, nonce, csr)
            request = enrol_pb2.RejoinRequest(
                certificate=membership.certificate, csr=csr, nonce=nonce, signature=signature
            )
            return stub.Rejoin(request, timeout=_ENROL_DEADLINE_S).certificate
        except grpc.RpcError as error:
            raise _unanswered(address, error) from error


def greet(membership: Membership) -> None:
    """Ask for what costs least and changes nothing; raises Refused or Unreachable."""
    address = membership.address
    with grpc.secure_channel(address, _mutual(membership), options=_options(DEFAULT)) as channel:
        try:
            stub = fleet_pb2_grpc.FleetServiceStub(channel)
            request = fleet_pb2.FetchMetadataRequest(name="timestamp.json")
            for _ in stub.FetchMetadata(request, timeout=_GREETING_DEADLINE_S):
                return
        except grpc.RpcError as error:
            raise _unanswered(address, error) from error


def put_sample(membership: Membership, sealed: bytes) -> None:
    """Hand over a sealed sample; raises Refused or Unreachable."""
    address = membership.address
    with grpc.secure_channel(address, _mutual(membership), options=_OPTIONS) as channel:
        try:
            stub = fleet_pb2_grpc.FleetServiceStub(channel)
            request = fleet_pb2.PutSampleRequest(sealed=sealed)
            stub.PutSample(request, timeout=_ENROL_DEADLINE_S)
        except grpc.RpcError as error:
            raise _unanswered(address, error) from error


def enrol(address: str, ca: bytes, application: Application) -> Admission:
    """Ask the manager to make this machine a device; raises Refused or Unreachable."""
    request = enrol_pb2.EnrolRequest(
        token_id=application.token_id,
        secret=application.secret,
        csr=application.csr,
        requested_name=application.name,
    )
    credentials = grpc.ssl_channel_credentials(ca)
    with grpc.secure_channel(address, credentials, options=_options(DEFAULT)) as channel:
        try:
            stub = enrol_pb2_grpc.EnrolServiceStub(channel)
            answer = stub.Enrol(request, timeout=_ENROL_DEADLINE_S)
        except grpc.RpcError as error:
            raise _unanswered(address, error) from error
    return Admission(
        answer.device, answer.fleet, answer.certificate, answer.fleet_address, answer.root
    )


def _unanswered(address: str, error: grpc.RpcError) -> Refused | Unreachable:
    if error.code() not in _UNREACHABLE:
        return Refused(_reason(error), hint=_hint(error))
    reason = _reason(error)
    if any(words in reason for words in _OF_OTHERS) and not clock_hint(reason):
        return Unreachable(
            f"what answers at {address} does not prove to be this fleet's manager",
            hint="is the address right? another manager, or something that intercepts TLS, answers"
            " there; if the manager has another name or authority now, ask for a new join token",
        )
    return Unreachable(
        f"the manager at {address} does not answer ({reason})",
        hint=clock_hint(reason)
        or "is the manager running, and can this machine reach that address?",
    )


def clock_hint(reason: str) -> str:
    """What to do when TLS refuses the manager's certificate for its dates; empty otherwise."""
    if not any(words in reason for words in _OF_DATES):
        return ""
    now = datetime.now(UTC)
    return f"is the clock of this machine right? it says {now:%Y-%m-%d %H:%M} UTC"


def _options(profile: Profile) -> tuple[tuple[str, int], ...]:
    return (*_OPTIONS, ("grpc.keepalive_time_ms", profile.keepalive_ms))


def _mutual(membership: Membership) -> grpc.ChannelCredentials:
    key = membership.key
    if not isinstance(key, HeldKey):
        pem = identity.key_to_pem(key)
        return grpc.ssl_channel_credentials(membership.ca, pem, membership.certificate)

    def sign(data: bytes, _algorithm: object, _done: object) -> bytes:
        return key.sign(data, ECDSA(SHA256()))

    made: grpc.ChannelCredentials = grpc.experimental.ssl_channel_credentials_with_custom_signer(
        private_key_sign_fn=sign,
        root_certificates=membership.ca,
        certificate_chain=membership.certificate,
    )
    return made


def _ended(error: grpc.aio.AioRpcError) -> SessionEnded:
    return SessionEnded(_reason(error), refused=error.code() in _REFUSED)


def _reason(error: grpc.RpcError) -> str:
    return str(error.details() or error.code().name.lower())


def _hint(error: grpc.RpcError) -> str:
    hints = [item.value for item in error.trailing_metadata() or () if item.key == _HINT_KEY]
    return bytes(hints[0]).decode(errors="replace") if hints else ""
