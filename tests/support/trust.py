"""A TUF repository and a director that sign on demand, a clock that is set by hand, a device.

The simulator holds every key, so a test can be any thief: it signs with the keys that were stolen.
Nothing here uses the manager's code.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sealane.audit import merkle
from sealane.audit.checkpoint import Checkpoint, signed
from sealane.audit.merkle import Span
from sealane.audit.position import Position
from sealane.errors import TrustError
from sealane.fleet import DeviceFacts, RuntimeFact
from sealane.names import DeviceId, Digest, ReleaseName, SlotName
from sealane.trust.director import to_targets
from sealane.trust.documents import DirectorDocument, SlotAssignment
from sealane.trust.verifier import Accepted, MetadataMissing, Step, Verifier
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

DEVICE = DeviceId("press-7")
START = datetime(2026, 11, 23, 8, 0, 0, tzinfo=UTC)
FACTS = DeviceFacts(
    arch="x86_64",
    os="linux",
    cpus=4,
    memory_bytes=2**32,
    runtimes=(RuntimeFact("onnxruntime", "1.32.0", ("cpu",)),),
    endpoint="127.0.0.1:8000",
)
_COMPACT = JSONSerializer(compact=True)


class ManualClock:
    """Both clocks of a machine; the wall clock may be wrong."""

    def __init__(self, wall: datetime = START) -> None:
        self.wall = wall
        self.ticks = 1000.0

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.ticks

    def advance(self, step: timedelta) -> None:
        self.wall += step
        self.ticks += step.total_seconds()


def manifest_of(name: str) -> bytes:
    """Bytes that stand for a release's manifest."""
    return f'{{"manifest of":"{name}"}}'.encode()


class Simulator:
    """The release authority and the director, with all their keys.

    `files` is what the network delivers: tests change it to attack.
    """

    def __init__(self, families: Sequence[str] = ("digits", "vision")) -> None:
        self.now = START
        self.files: dict[str, bytes] = {}
        self.log = AuditSimulator()
        self.asked: list[str] = []
        self.keys: dict[str, list[CryptoSigner]] = {
            "root": _new_keys(3),
            "targets": _new_keys(1),
            "snapshot": _new_keys(1),
            "timestamp": _new_keys(1),
            "director": _new_keys(1),
        }
        self.root = self._first_root()
        self.targets = Targets(expires=self._in(180), delegations=Delegations({}, {}))
        self.families: dict[str, Targets] = {}
        self.snapshot = Snapshot(expires=self._in(30), meta={})
        self.timestamp = Timestamp(expires=self._in(7))
        self.snapshot.version = self.timestamp.version = 0  # nothing is published yet
        self.publish_root()
        for family in families:
            self.delegate(family)
        self.publish_targets()
        for family in families:
            self.families[family] = Targets(expires=self._in(90))
            self.publish_family(family)
        self.publish()

    # The network.

    def fetch(self, name: str, limit: int) -> Iterator[bytes]:
        assert limit > 0
        self.asked.append(name)
        if name not in self.files:
            raise MetadataMissing(name)
        yield self.files[name]

    # The release authority.

    @property
    def first_root(self) -> bytes:
        return self.files["1.root.json"]

    def delegate(self, family: str, threshold: int = 2) -> None:
        """Give a family three new keys, of which two must sign."""
        self.keys[family] = _new_keys(3)
        ids = [signer.public_key.keyid for signer in self.keys[family]]
        role = DelegatedRole(family, ids, threshold, terminating=True, paths=[f"{family}/*"])
        assert self.targets.delegations is not None
        assert self.targets.delegations.roles is not None
        self.targets.delegations.roles[family] = role
        for signer in self.keys[family]:
            self.targets.delegations.keys[signer.public_key.keyid] = signer.public_key

    def end(self, family: str) -> None:
        """The targets know a family no more; its last metadata stays in the snapshot."""
        assert self.targets.delegations is not None
        assert self.targets.delegations.roles is not None
        del self.targets.delegations.roles[family]
        self.advance_targets()

    def advance_targets(self) -> None:
        self.targets.version += 1
        self.publish_targets()
        self.publish()

    def approve(self, release: str, **custom: Any) -> SlotAssignment:
        """List a release, publish, and return what an honest director would assign."""
        name = ReleaseName.parse(release)
        content = manifest_of(release)
        fields = {"slots": ["cam"], "requires": {}, "size": 1} | custom
        self.list_target(name.family, name.target_path, content, fields)
        digest = Digest("sha256:" + hashlib.sha256(content).hexdigest())
        return SlotAssignment(SlotName("cam"), name, digest, len(content))

    def list_target(
        self, family: str, path: str, content: bytes, custom: Mapping[str, Any]
    ) -> None:
        target = TargetFile.from_data(path, content, ["sha256"])
        target.unrecognized_fields["custom"] = dict(custom)
        self.families[family].targets[path] = target
        folder, _, base = path.rpartition("/")
        self.files[f"targets/{folder}/{target.hashes['sha256']}.{base}"] = content
        self.advance_family(family)

    def revoke(self, release: str) -> None:
        name = ReleaseName.parse(release)
        del self.families[name.family].targets[name.target_path]
        self.advance_family(name.family)

    def advance_family(self, family: str, signers: Sequence[CryptoSigner] | None = None) -> None:
        self.families[family].version += 1
        self.publish_family(family, signers)
        self.publish()

    def publish_root(self, signers: Sequence[CryptoSigner] | None = None) -> None:
        content = sign(self.root, signers or self.keys["root"])
        self.files[f"{self.root.version}.root.json"] = content

    def publish_targets(self, signers: Sequence[CryptoSigner] | None = None) -> None:
        self._store("targets", self.targets, signers or self.keys["targets"])

    def publish_family(self, family: str, signers: Sequence[CryptoSigner] | None = None) -> None:
        self._store(family, self.families[family], signers or self.keys[family])

    def publish(self) -> None:
        """Sign the next snapshot and the next timestamp."""
        self.snapshot.version += 1
        self.snapshot.expires = self._in(30)
        content = sign(self.snapshot, self.keys["snapshot"])
        self.files[f"{self.snapshot.version}.snapshot.json"] = content
        self.timestamp.version += 1
        self.timestamp.expires = self._in(7)
        self.timestamp.snapshot_meta = _meta(self.snapshot.version, content)
        self.files["timestamp.json"] = sign(self.timestamp, self.keys["timestamp"])

    def rotate(self, role: str, count: int = 1) -> None:
        """Replace the keys of a role of the root; old and new root keys sign the new root."""
        old_root_keys = self.keys["root"]
        new = _new_keys(count)
        if role == "director":
            self._name_director(new)
        else:
            for signer in self.keys[role]:
                self.root.revoke_key(signer.public_key.keyid, role)
            for signer in new:
                self.root.add_key(signer.public_key, role)
        self.keys[role] = new
        self.root.version += 1
        self.publish_root([*old_root_keys, *(self.keys["root"] if role == "root" else [])])

    def _first_root(self) -> Root:
        root = Root(expires=self._in(365), consistent_snapshot=True)
        for role in ("root", "targets", "snapshot", "timestamp"):
            for signer in self.keys[role]:
                root.add_key(signer.public_key, role)
        root.roles["root"].threshold = 2
        self.root = root
        self._name_director(self.keys["director"])
        return root

    def _name_director(self, signers: Sequence[CryptoSigner], threshold: int = 1) -> None:
        ids = [signer.public_key.keyid for signer in signers]
        self.root.keys.update({signer.public_key.keyid: signer.public_key for signer in signers})
        self.root.unrecognized_fields["x-director"] = {"keyids": ids, "threshold": threshold}

    def _store(self, role: str, signed: Targets, signers: Sequence[CryptoSigner]) -> None:
        content = sign(signed, signers)
        self.files[f"{signed.version}.{role}.json"] = content
        self.snapshot.meta[f"{role}.json"] = _meta(signed.version, content)

    def _in(self, days: float) -> datetime:
        return self.now + timedelta(days=days)

    # The director.

    def document(
        self, slots: Sequence[SlotAssignment], nonce: str | None, **changes: Any
    ) -> DirectorDocument:
        """What an honest director says now; `changes` make it lie."""
        document = DirectorDocument(
            device=DEVICE,
            version=int(self.now.timestamp()),
            issued=self.now,
            expires=self._in(1),
            nonce=nonce,
            root_version=self.root.version,
            snapshot_version=self.snapshot.version,
            generation=1,
            slots=tuple(slots),
            log=self.log.note(self.keys["director"]),
        )
        return replace(document, **changes)

    def direct(self, slots: Sequence[SlotAssignment], nonce: str | None, **changes: Any) -> bytes:
        """The same, signed by the director."""
        return sign(to_targets(self.document(slots, nonce, **changes)), self.keys["director"])


class AuditSimulator:
    """The manager's audit log: entries may be added, and changed as a thief would."""

    def __init__(self) -> None:
        self.entries, self.epoch = [b"the fleet was made"], 1

    def add(self, *entries: bytes) -> None:
        self.entries += entries

    def note(self, signers: Sequence[CryptoSigner], fleet: str = "acme") -> str:
        size = len(self.entries)
        root = merkle.hashed(Span(0, size), self._nodes())
        return signed(Checkpoint(fleet, Position(self.epoch, size), root), signers)

    def proof(self, seen: Position) -> tuple[bytes, ...]:
        size, nodes = len(self.entries), self._nodes()
        return tuple(merkle.hashed(span, nodes) for span in merkle.consistency(seen.size, size))

    def _nodes(self) -> dict[merkle.Node, bytes]:
        return merkle.grown(0, (), [merkle.leaf_hash(each) for each in self.entries])[0]


def sign(wanted: Any, signers: Sequence[CryptoSigner]) -> bytes:
    """Metadata with the signatures of these keys."""
    metadata: Metadata[Any] = Metadata(wanted)
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata.to_bytes(_COMPACT)


def _meta(version: int, content: bytes) -> MetaFile:
    return MetaFile(version, len(content), {"sha256": hashlib.sha256(content).hexdigest()})


def _new_keys(count: int) -> list[CryptoSigner]:
    return [CryptoSigner.generate_ed25519() for _ in range(count)]


@dataclass
class Scene:
    """A device, its manager and the network between them."""

    folder: Path
    authority: Simulator = field(default_factory=Simulator)
    clock: ManualClock = field(default_factory=ManualClock)

    def __post_init__(self) -> None:
        root = self.authority.first_root
        Verifier.bootstrap(self.folder, root, hashlib.sha256(root).digest())
        self.verifier = self.restarted()

    def restarted(self) -> Verifier:
        """The device's verifier after a reboot."""
        self.verifier = Verifier(self.folder, self.authority, DEVICE, self.clock)
        return self.verifier

    def pass_time(self, step: timedelta) -> None:
        """Time passes everywhere."""
        self.authority.now += step
        self.clock.advance(step)

    def poll(self, *slots: SlotAssignment, **changes: Any) -> Accepted:
        """The device asks, the director answers, the verifier judges."""
        nonce = self.verifier.new_nonce()
        return self.hear(self.authority.direct(slots, nonce, **changes), nonce)

    def hear(self, document: bytes, nonce: str | None, facts: DeviceFacts = FACTS) -> Accepted:
        proof = self.authority.log.proof(self.verifier.seen())
        return self.verifier.accept(document, nonce, facts, proof)

    def assert_refuses(self, step: Step, *slots: SlotAssignment, **changes: Any) -> TrustError:
        """A poll is refused as a whole, at this step."""
        with pytest.raises(TrustError) as caught:
            self.poll(*slots, **changes)
        assert caught.value.step == step, str(caught.value)
        return caught.value

    def assert_slot_refused(self, step: Step, slot: SlotAssignment, **changes: Any) -> TrustError:
        """A poll is accepted, but not for this slot, because of this step."""
        accepted = self.poll(slot, **changes)
        assert accepted.approved == ()
        error = accepted.refused[slot.slot]
        assert error.step == step, str(error)
        return error
