"""The verifier: what a device may run, and only when two authorities agree.

The release authority lists releases in a TUF repository; the director says, in a signed document,
which of them this device shall run now. A document goes through these steps, in this order; the
first that fails refuses it, and its TrustError carries the step:

 1. root chain     the newest root that the bootstrap root reaches, not older than one seen before
 2. director key   the root names the director's keys and threshold
 3. size cap       the document is not larger than DIRECTOR_DOCUMENT_BYTES
 4. threshold      enough of the director's keys signed it
 5. device         it is for this device
 6. nonce          it answers a question that this device asked, once; none if carried by hand
 7. version floor  it is not older than one accepted before under the same director keys
 8. time floor     its time, or the best known, but never before what was proved to have passed
 9. expiry         it has not expired at that time
10. history        its audit log is signed and continues the one that this device has seen
11. persist        its version, its time, its log and the root's version are durable before
                   anything follows
12. refresh        the repository's metadata is signed and unexpired at that time, and not older
                   than seen before; what was seen becomes durable
13. repository     the root and the snapshot are at least as new as the director says

Each slot then goes on by itself, and a refused slot does not hold up another:

14. listed         the release authority lists the release now
15. digest         director and release authority mean the same bytes: digest and length
16. slot           the release is approved for this slot
17. requires       the device has what the release requires; an unknown requirement refuses
18. manifest       the manifest's bytes have that digest and length
"""

from __future__ import annotations

import secrets
from collections import deque
from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING, Final

from tuf.api.metadata import Metadata, Targets

from sealane import limits
from sealane.audit.checkpoint import verified
from sealane.audit.position import NOWHERE, Position
from sealane.audit.witness import Shown, declared_loss, witnessed
from sealane.errors import InvalidName, TrustError
from sealane.trust import anchor, director, held, highwater
from sealane.trust.agreement import Agreement
from sealane.trust.remembered import RememberedRepository
from sealane.trust.source import MetadataMissing, MetadataSource
from sealane.trust.steps import Step, refusing
from sealane.trust.trusted_time import TrustedTime

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime, timedelta
    from pathlib import Path

    from tuf.api.metadata import Root

    from sealane.clock import Clock
    from sealane.fleet import DeviceFacts, Memory, MetadataFile
    from sealane.names import DeviceId, Digest, SlotName
    from sealane.trust.documents import ApprovedRelease, DirectorDocument
    from sealane.trust.highwater import Mark
    from sealane.trust.repository import RepositoryView

__all__ = ["Accepted", "MetadataMissing", "MetadataSource", "Step", "Verifier"]

_OPEN_NONCES: Final = 16
"""Questions that wait for an answer; an older one counts as lost."""

_MALFORMED: Final = (ValueError, KeyError, TypeError, AttributeError, InvalidName)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A director document that was accepted.

    Attributes:
        document: what it says.
        approved: the slots whose release both authorities agree on.
        refused: why each other slot stays as it is.
        lost: what to tell when the manager declared a part of its audit log lost, or empty.
        authorities: of the fleet's certificates, PEM; empty when none were ever listed.
    """

    document: DirectorDocument
    approved: tuple[ApprovedRelease, ...]
    refused: Mapping[SlotName, TrustError]
    lost: str = ""
    authorities: bytes = b""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A document that is for this device, with the proof that came beside it."""

    document: DirectorDocument
    proof: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class _Answer:
    """A document as it came, with the question that it shall answer."""

    document: bytes
    nonce: str | None
    proof: Sequence[bytes]


class Verifier:
    """Judges director documents for one device; remembers what it saw in its folder.

    One verifier a folder at a time. `accept` blocks on disk and network and may be called from any
    thread.
    """

    def __init__(
        self, folder: Path, source: MetadataSource, device: DeviceId, clock: Clock
    ) -> None:
        self._folder = folder
        self._marks = folder / anchor.MARKS_FILE
        self._repository = RememberedRepository(folder, source, clock)
        self._device = device
        self._clock = clock
        self._lock = Lock()
        self._nonces: deque[str] = deque(maxlen=_OPEN_NONCES)
        self._manifests: Mapping[Digest, bytes] = {}
        self._authorities = b""
        self._time = TrustedTime(anchor.known_floor(folder))

    @staticmethod
    def bootstrap(folder: Path, root: bytes, sha256: bytes) -> None:
        """Begin to trust a root; see `sealane.trust.anchor`."""
        anchor.bootstrap(folder, root, sha256)

    def new_nonce(self) -> str:
        """A question that one document may answer, once."""
        nonce = secrets.token_hex(16)
        self._nonces.append(nonce)
        return nonce

    def clock_offset(self) -> timedelta | None:
        """How far this machine's clock is ahead of the manager's; None: not known yet."""
        return self._time.offset(self._clock)

    def trusted_now(self) -> datetime:
        """The best known time, aware, in UTC."""
        return self._time.now(self._clock)

    def seen(self) -> Position:
        """How much of the audit log was seen; none when the marks cannot be read."""
        try:
            return highwater.load(self._marks).log.position
        except TrustError:
            return NOWHERE

    def memory(self) -> Memory:
        """What was seen, for a manager that may have forgotten it."""
        return held.memory(self._folder)

    def files(self, above: Mapping[str, int]) -> Iterator[MetadataFile]:
        """Metadata that this device holds above these versions of its roles."""
        return held.files(self._folder, above)

    def accept(
        self,
        document: bytes,
        nonce: str | None,
        facts: DeviceFacts,
        proof: Sequence[bytes] = (),
    ) -> Accepted:
        """Judge a director document and every release that it assigns.

        `nonce` is the one from `new_nonce` that was sent for this document, or None for a document
        that did not answer any. `proof`: that its audit log continues what was `seen`.

        Raises TrustError when the document as a whole is refused, and whatever the source raises
        when the transport fails; then another document, with a new nonce, may be asked for.
        """
        return self._accepted(self._repository, _Answer(document, nonce, proof), facts)

    def accept_carried(
        self, document: bytes, source: MetadataSource, facts: DeviceFacts
    ) -> Accepted:
        """Judge a document that was carried by hand, with the metadata that was carried beside it.

        Raises TrustError, or what the source raises.
        """
        carried = RememberedRepository(self._folder, source, self._clock)
        return self._accepted(carried, _Answer(document, None, ()), facts)

    def _accepted(
        self, repository: RememberedRepository, answer: _Answer, facts: DeviceFacts
    ) -> Accepted:
        with self._lock:
            view, root = repository.follow_roots()
            authority = _director_of(root)
            signed = _authentic(answer.document, authority)
            wanted = self._addressed(signed, answer.nonce)
            lost = self._judge_and_persist(_Candidate(wanted, answer.proof), authority, root)
            repository.refresh(view, root, self.trusted_now())
            _as_new_as_named(view, wanted)
            agreement = Agreement(view, facts, self._manifests)
            approved, refused = agreement.judge(wanted.slots)
            self._manifests = {item.assignment.manifest: item.manifest for item in approved}
            self._authorities = view.authorities(self._authorities)
            return Accepted(wanted, approved, refused, lost, self._authorities)

    def _addressed(self, signed: Targets, nonce: str | None) -> DirectorDocument:
        """Steps 5 and 6."""
        try:
            document = director.from_targets(signed)
        except _MALFORMED as error:
            message = f"the director document is malformed: {error!r}"
            raise TrustError(Step.DEVICE, message) from error
        if document.device != self._device:
            message = f"the director document is for {document.device}, this is {self._device}"
            raise TrustError(Step.DEVICE, message)
        if document.nonce != nonce or (nonce is not None and nonce not in self._nonces):
            raise TrustError(
                Step.NONCE,
                "the director document does not answer the question that this device asked",
                hint="an old answer was replayed, or two answers crossed: ask again",
            )
        if nonce is not None:
            self._nonces.remove(nonce)
        return document

    def _judge_and_persist(self, candidate: _Candidate, authority: Targets, root: Root) -> str:
        """Steps 7 to 11; what to tell about the log."""
        marks, document = highwater.load(self._marks), candidate.document
        keys = director.fingerprint(authority.delegations.keys) if authority.delegations else ""
        _not_older(document, marks.director.floor(keys))
        time = self._judge_time(document, marks.time, keys)
        now = time.now(self._clock)
        if document.expires <= now:
            raise TrustError(
                Step.EXPIRY,
                f"the director document expired at {document.expires:%Y-%m-%d %H:%M} UTC, "
                f"the time is {now:%Y-%m-%d %H:%M}",
            )
        log = witnessed(
            marks.log, keys, _shown(candidate, authority), answered=document.nonce is not None
        )
        seen = replace(
            marks,
            root=root.version,
            director=marks.director.raised(keys, document.version),
            time=marks.time.raised(keys, time.floor),
            log=log,
        )
        highwater.save(self._marks, seen)
        self._time = time
        return declared_loss(marks.log, log)

    def _judge_time(self, document: DirectorDocument, mark: Mark, keys: str) -> TrustedTime:
        """Step 8."""
        issued = int(document.issued.timestamp())
        floor = max(issued, mark.floor(keys))
        if document.nonce is not None:
            counted = self._time.passed(self._clock) if mark.keys == keys else 0
            return TrustedTime(max(floor, counted), issued, self._clock.monotonic())
        if mark.keys != keys:
            return TrustedTime(floor)
        return replace(self._time, floor=floor)


def _director_of(root: Root) -> Targets:
    """Step 2."""
    try:
        return director.director_role(root)
    except _MALFORMED as error:
        message = f"root {root.version} names no director that this device can check"
        raise TrustError(Step.DIRECTOR_KEY, message) from error


def _authentic(document: bytes, authority: Targets) -> Targets:
    """Steps 3 and 4."""
    if len(document) > limits.DIRECTOR_DOCUMENT_BYTES:
        message = f"the director document is larger than {limits.DIRECTOR_DOCUMENT_BYTES} bytes"
        raise TrustError(Step.SIZE_CAP, message)
    with refusing(Step.THRESHOLD):
        metadata = Metadata.from_bytes(document)
        authority.verify_delegate(director.DIRECTOR, metadata.signed_bytes, metadata.signatures)
    if not isinstance(metadata.signed, Targets):
        message = f"the director signed {metadata.signed.type} metadata, which is not its to sign"
        raise TrustError(Step.THRESHOLD, message)
    return metadata.signed


def _not_older(document: DirectorDocument, floor: int) -> None:
    """Step 7."""
    if document.version < floor:
        raise TrustError(
            Step.VERSION_FLOOR,
            f"the director document has version {document.version}, this device has seen {floor}",
            hint="an old document was replayed, or the manager was restored from an old backup",
        )


def _shown(candidate: _Candidate, authority: Targets) -> Shown | None:
    """Step 10, first half: who signed the log that the document shows."""
    note = candidate.document.log
    if not note:
        return None
    delegations = authority.delegations
    role = delegations.roles[director.DIRECTOR] if delegations and delegations.roles else None
    keys = delegations.keys if delegations else {}
    return Shown(note, verified(note, keys, role.threshold if role else 1), candidate.proof)


def _as_new_as_named(view: RepositoryView, wanted: DirectorDocument) -> None:
    """Step 13."""
    root, snapshot = view.versions()
    if root < wanted.root_version or snapshot < wanted.snapshot_version:
        raise TrustError(
            Step.REPOSITORY,
            f"the repository shows root {root} and snapshot {snapshot}, the director knows root "
            f"{wanted.root_version} and snapshot {wanted.snapshot_version}",
            hint="something between the manager and this device serves an old repository",
        )
