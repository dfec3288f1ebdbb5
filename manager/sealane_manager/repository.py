"""The TUF repository on disk: serves its files, takes new metadata, signs snapshot and timestamp.

Snapshots are consistent: every version stays in a file of its own, and timestamp.json, which
decides what is current, is replaced last. A lock keeps two writers apart, also those of different
processes.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from sealane import fileio, limits
from sealane.clock import SystemClock
from sealane.errors import SealaneError
from sealane.names import hex_of
from sealane.trust import authorities
from sealane.trust.authorities import parse_authorities
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile, Targets, Timestamp

from sealane_manager.errors import NotKnown, Refused
from sealane_manager.trust import changes, endings, online, submission
from sealane_manager.trust.edits import keys_in
from sealane_manager.trust.keys import ONLINE, load_signers
from sealane_manager.trust.publication import Publication, publications
from sealane_manager.trust.submission import ListedRelease

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime
    from pathlib import Path
    from typing import Any

    from sealane.clock import Clock
    from sealane.names import Digest, ReleaseName
    from securesystemslib.signer import CryptoSigner
    from tuf.api.metadata import MetaFile

__all__ = ["ListedRelease", "Repository"]


def _to_nobody(_publication: Publication) -> None:
    """Where nobody keeps a log."""


_Signed = TypeVar("_Signed", Root, Timestamp, Snapshot, Targets)

_CLOCK: Final = SystemClock()
_ONLINE: Final = (Snapshot.type, Timestamp.type)
_WORD: Final = r"[a-z0-9](?:[a-z0-9_.-]{0,62}[a-z0-9])?"
_NAME: Final = re.compile(
    rf"timestamp\.json|[1-9][0-9]{{0,9}}\.{_WORD}\.json"
    rf"|targets/{_WORD}/[0-9a-f]{{64}}\.{_WORD}@[1-9][0-9]{{0,9}}\.json"
    r"|targets/fleet/[0-9a-f]{64}\.ca\.pem"
)
_EARLIER_ROOT: Final = re.compile(r"[1-9][0-9]{0,9}\.root")


class Repository:
    """One TUF repository; any number of threads and processes may use the same folder."""

    def __init__(
        self,
        folder: Path,
        keys: Path,
        clock: Clock = _CLOCK,
        tell: Callable[[Publication], None] = _to_nobody,
    ) -> None:
        self._folder = folder
        self._keys = keys
        self._clock = clock
        self._tell = tell
        self._root = 0
        self._signers: dict[tuple[int, str], CryptoSigner] = {}
        self._listed: tuple[int, tuple[ListedRelease, ...]] = (0, ())

    def read(self, name: str) -> bytes:
        """A file by its name in the repository; raises NotKnown."""
        if not _NAME.fullmatch(name):
            raise NotKnown(f"{name[:80]!r} is not the name of a metadata or target file")
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError as error:
            raise NotKnown(f"the repository has no {name}") from error

    def current(self, role: str) -> bytes:
        """The current metadata of a role, or a root by its version; raises NotKnown."""
        if role == Timestamp.type and self.begun:
            return self.read("timestamp.json")
        if not self.begun:
            raise NotKnown(
                "the root of this fleet is not signed by enough of its holders yet",
                hint="`sealane trust status` says who must sign",
            )
        if role == Root.type:
            return self.read(f"{self._root_version()}.root.json")
        if _EARLIER_ROOT.fullmatch(role):
            return self.read(f"{role}.json")
        meta = self._timestamp().snapshot_meta if role == Snapshot.type else self._meta(role)
        return self.read(f"{meta.version}.{role}.json")

    def versions(self) -> tuple[int, int]:
        """Versions of the current root and snapshot."""
        return self._root_version(), self._timestamp().snapshot_meta.version

    def releases(self) -> tuple[ListedRelease, ...]:
        """Every release that is listed now, by name."""
        snapshot = self._timestamp().snapshot_meta.version
        if self._listed[0] != snapshot:
            listed = [
                item for role in self.published_families() for item in self._releases_of(role)
            ]
            self._listed = snapshot, tuple(sorted(listed, key=lambda item: item.name))
        return self._listed[1]

    def families(self) -> tuple[str, ...]:
        """Every family that the targets role delegates to."""
        delegations = self._parsed(Targets).delegations
        return tuple(delegations.roles or ()) if delegations else ()

    def published_families(self) -> tuple[str, ...]:
        """Those of them that have metadata."""
        known = self._parsed(Snapshot).meta
        return tuple(role for role in self.families() if f"{role}.json" in known)

    def add_target(self, name: ReleaseName, manifest: bytes) -> None:
        """Store a release's manifest, so that its metadata may be submitted."""
        if len(manifest) > limits.MANIFEST_BYTES:
            raise Refused(f"the manifest of {name} is larger than {limits.MANIFEST_BYTES} bytes")
        path = self._target(name, hashlib.sha256(manifest).hexdigest())
        fileio.make_folder(path.parent)
        fileio.replace(path, manifest)

    def holds(self, name: ReleaseName, manifest: Digest) -> bool:
        """Whether a release's manifest is stored here."""
        return self._target(name, hex_of(manifest)).is_file()

    def add_authorities(self, bundle: bytes) -> TargetFile:
        """Store the authorities that devices shall believe, so that they may be listed."""
        parse_authorities(bundle)
        target = TargetFile.from_data(authorities.PATH, bundle, ["sha256"])
        path = self._authorities(target)
        fileio.make_folder(path.parent)
        fileio.replace(path, bundle)
        return target

    def _authorities(self, target: TargetFile) -> Path:
        folder, _, base = authorities.PATH.rpartition("/")
        return self._folder / "targets" / folder / f"{target.hashes.get('sha256')}.{base}"

    def lists(self, target: TargetFile) -> bool:
        """Whether the current targets list this file themselves."""
        return self._parsed(Targets).targets.get(target.path) == target

    def documents(self) -> dict[str, Metadata[Any]]:
        """The current metadata of the root, the targets and every family; what there is of it.

        Of families that have ended, too: the last that they said.
        """
        if not self.begun:
            return {}
        named = (name.removesuffix(".json") for name in self._parsed(Snapshot).meta)
        roles = (Root.type, Targets.type, *(role for role in named if role != Targets.type))
        return {role: _read(role, self.current(role)) for role in roles}

    def superseded(self) -> Iterator[Metadata[Any]]:
        """Every root and targets before the current ones, as far as they are here."""
        for role in (Root.type, Targets.type):
            for version in range(1, self._version(role)):
                path = self._folder / f"{version}.{role}.json"
                if path.exists():
                    yield _read(role, path.read_bytes())

    @property
    def begun(self) -> bool:
        """Whether there is a root, and metadata under it."""
        return (self._folder / "timestamp.json").exists()

    def judge_form(self, role: str, document: Metadata[Any], now: datetime) -> None:
        """Raise Refused unless new metadata may follow the current one, whoever signed it."""
        version = self._version(role)
        if role == Root.type:
            submission.judge_root_form(version, document.signed, now)
            self._judge_keys_in(document.signed)
        elif role == Targets.type:
            submission.judge_targets_form(version, document.signed, now)
            self._judge_authorities(document.signed)
        else:
            listed = submission.judge_family_form((role, version), document.signed, now)
            self._judge_stored(listed)

    def submit(self, role: str, metadata: bytes) -> int:
        """Take new metadata of one offline role; see `publish`."""
        return self.publish({role: metadata})

    def publish(self, changed: Mapping[str, bytes]) -> int:
        """Take new metadata of offline roles, all or none; returns the snapshot's version.

        Raises Refused when the keys that are entitled to it did not sign, when it does not follow
        the current version, when it lists what the role may not sign, or when something that stays
        would no longer be signed by enough keys.
        """
        now = self._clock.now()
        with self._locked():
            new = self._judged(changed, now)
            return self._publish(
                {role: (new[role].signed.version, changed[role]) for role in new}, now
            )

    def resign(self, now: datetime) -> bool:
        """Sign snapshot and timestamp again when half of their life has passed.

        Also when a new root gave them other keys and a crash came before they were used.
        """
        with self._locked():
            timestamp, snapshot = self._timestamp(), self._parsed(Snapshot)
            if online.due(snapshot, now) or not self._signed_by_current_keys():
                self._publish({}, now)
            elif online.due(timestamp, now):
                self._point_to(timestamp.snapshot_meta, now)
            else:
                return False
            return True

    def behind(self, held: Mapping[str, int]) -> dict[str, int]:
        """Roles of which somebody holds newer metadata, with the versions here."""
        return {
            role: version
            for role, newer in held.items()
            if role not in _ONLINE and newer > (version := self._version(role))
        }

    def take_back(self, role: str, metadata: bytes, now: datetime) -> bool:
        """Take metadata of an offline role that was published here before a restore.

        Judged like a submission, but versions in between may be missing, and so may manifests and
        the other roles that were published with it. Returns whether it is news; raises Refused.
        """
        with self._locked():
            new = changes.parse(role, metadata)
            version = new.signed.version
            if version <= self._version(role):
                return False
            if role == Root.type:
                if version != self._version(role) + 1:
                    return False
                submission.judge_root(self._parsed(Root), new, now)
                self._judge_keys_in(new.signed)
            elif role == Targets.type:
                submission.judge_targets(self._parsed(Root), version - 1, new, now)
            else:
                targets = self._parsed(Targets)
                changes.judge_known(targets, role)
                submission.judge_family(targets, (role, version - 1), new, now)
            self._publish({role: (version, metadata)}, now)
            return True

    def freshen(self, now: datetime) -> None:
        """Sign a new timestamp: what is carried away now shall be good for its whole life."""
        with self._locked():
            self._point_to(self._timestamp().snapshot_meta, now)

    def renew(self, now: datetime) -> None:
        """Sign a new snapshot and timestamp, ahead of all that devices may have seen.

        Raises NotKnown before enough holders have signed the first root.
        """
        with self._locked():
            self.current(Root.type)
            self._publish({}, now)

    def check(self) -> None:
        """Raise SealaneError unless everything that is current is here, as the snapshot says."""
        timestamp = self._timestamp()
        _verify(Snapshot.type, timestamp.snapshot_meta, self.current(Snapshot.type))
        for name, meta in self._parsed(Snapshot).meta.items():
            role = name.removesuffix(".json")
            _verify(role, meta, self.current(role))
        self._parsed(Root)

    def online_signer(self, role: str) -> CryptoSigner:
        """The manager's key for a role, as the current root lists it; raises SealaneError."""
        root = self._root_version()
        if (root, role) not in self._signers:
            self._signers[root, role] = self._find_signer(role)
        return self._signers[root, role]

    def _find_signer(self, role: str) -> CryptoSigner:
        held = load_signers(self._keys, role)
        version = self._root_version()
        listed = keys_in(_read_signed(Root.type, self.read(f"{version}.root.json")), role)
        for signer in held:
            if signer.public_key.keyid in listed:
                return signer
        raise SealaneError(
            f"the root lists no {role} key that is in {self._keys}",
            hint="put the key that it lists there, or have the root holders sign a new root",
        )

    def _signed_by_current_keys(self) -> bool:
        root = self._parsed(Root)
        found = (_read(role, self.current(role)) for role in _ONLINE)
        return all(
            root.get_verification_result(
                item.signed.type, item.signed_bytes, item.signatures
            ).verified
            for item in found
        )

    def _judged(self, changed: Mapping[str, bytes], now: datetime) -> dict[str, Metadata[Any]]:
        current = self.documents()
        new = {role: changes.parse(role, content) for role, content in changed.items()}
        after = current | new
        if Root.type not in after or Targets.type not in after:
            raise Refused("a repository begins with a root and targets together")
        root, targets = after[Root.type].signed, after[Targets.type].signed
        if Root.type in new:
            before = current[Root.type].signed if current else None
            submission.judge_root(before, new[Root.type], now)
            self._judge_keys_in(root)
        if Targets.type in new:
            submission.judge_targets(root, self._version(Targets.type), new[Targets.type], now)
            self._judge_authorities(targets)
        for family in sorted(new.keys() - {Root.type, Targets.type}):
            self._judge_family(targets, family, new[family], now)
        changes.judge_kept(after, new)
        changes.judge_begun_anew(new, current)
        return new

    def _judge_keys_in(self, root: Root) -> None:
        for role in ONLINE:
            held = {signer.public_key.keyid for signer in load_signers(self._keys, role)}
            if not held.intersection(keys_in(root, role)):
                raise Refused(
                    f"the new root does not list the manager's {role} key",
                    hint=f"make a new one on the manager with: sealane trust rotate {role}",
                )

    def _judge_family(
        self, targets: Targets, family: str, new: Metadata[Targets], now: datetime
    ) -> None:
        changes.judge_known(targets, family)
        current = family, self._version(family)
        self._judge_stored(submission.judge_family(targets, current, new, now))

    def _judge_authorities(self, targets: Targets) -> None:
        target = targets.targets.get(authorities.PATH)
        if target is not None and not self._authorities(target).is_file():
            raise Refused(
                "the fleet's authorities that the targets list are not stored here",
                hint="propose them with: sealane authority prepare",
            )

    def _judge_stored(self, listed: Iterable[ListedRelease]) -> None:
        for release in listed:
            if not self.holds(release.name, release.manifest):
                message = f"the manifest of {release.name} is not stored here"
                raise Refused(message, hint="upload the bundle before its release is signed")

    def _publish(self, changed: Mapping[str, tuple[int, bytes]], now: datetime) -> int:
        """Write new metadata, each after it was told, then a snapshot that names it, the timestamp.

        The root comes after what its keys signed: it counts as soon as it is written, the others
        when the timestamp is.
        """
        for role in sorted(changed, key=lambda role: (role == Root.type, role)):
            version, content = changed[role]
            self._announce(role, content)
            fileio.replace(self._folder / f"{version}.{role}.json", content)
        listed = {role: new for role, new in changed.items() if role != Root.type}
        snapshot = online.next_snapshot(self._last(Snapshot), listed, now)
        content = self._signed(snapshot)
        fileio.replace(self._folder / f"{snapshot.version}.snapshot.json", content)
        self._point_to(online.meta_file(snapshot.version, content), now)
        return snapshot.version

    def _announce(self, role: str, content: bytes) -> None:
        """Told before it is published, so that nothing is published untold."""
        before = self._before(role)
        gone: dict[str, Targets] = {}
        if role == Targets.type and before is not None:
            left = endings.ended(before, _read_signed(role, content))
            gone = {family: told for family in left if (told := self._before(family))}
        for each in publications(role, before, content, gone):
            self._tell(each)

    def _before(self, role: str) -> Targets | None:
        """What targets or a family say now; None when nothing, or no more."""
        if role == Root.type or not self._version(role):
            return None
        if role != Targets.type and role not in self.families():
            return None
        found: Targets = _read_signed(role, self.current(role))
        return found

    def _point_to(self, snapshot: MetaFile, now: datetime) -> None:
        timestamp = online.next_timestamp(self._last(Timestamp), snapshot, now)
        fileio.replace(self._folder / "timestamp.json", self._signed(timestamp))

    def _signed(self, signed: _Signed) -> bytes:
        metadata = Metadata[_Signed](signed)
        metadata.sign(self.online_signer(signed.type))
        return metadata.to_bytes(submission.COMPACT)

    def _last(self, kind: type[_Signed]) -> _Signed | None:
        return self._parsed(kind) if self.begun else None

    def _parsed(self, kind: type[_Signed]) -> _Signed:
        signed: _Signed = _read_signed(kind.type, self.current(kind.type))
        return signed

    def _timestamp(self) -> Timestamp:
        return self._parsed(Timestamp)

    def _root_version(self) -> int:
        while (self._folder / f"{self._root + 1}.root.json").exists():
            self._root += 1
        return self._root

    def _meta(self, role: str) -> MetaFile:
        meta = self._parsed(Snapshot).meta.get(f"{role}.json")
        if meta is None:
            raise NotKnown(f"there is no role {role[:80]!r} in the repository")
        return meta

    def _version(self, role: str) -> int:
        """The version of an offline role that is current; 0 when it has none."""
        if not self.begun:
            return 0
        if role == Root.type:
            return self._root_version()
        meta = self._parsed(Snapshot).meta.get(f"{role}.json")
        return meta.version if meta else 0

    def _releases_of(self, family: str) -> tuple[ListedRelease, ...]:
        signed: Targets = _read_signed(family, self.current(family))
        return submission.listed_in(family, signed)

    def _target(self, name: ReleaseName, sha256: str) -> Path:
        folder, _, base = name.target_path.rpartition("/")
        return self._folder / "targets" / folder / f"{sha256}.{base}"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fileio.make_folder(self._folder)
        with (self._folder / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _verify(role: str, meta: MetaFile, content: bytes) -> None:
    try:
        meta.verify_length_and_hashes(content)
    except RepositoryError as error:
        raise _damaged(role) from error


def _damaged(role: str) -> SealaneError:
    message = f"the repository's metadata of {role} is damaged"
    return SealaneError(message, hint="restore the tuf folder from a backup")


def _read(role: str, content: bytes) -> Metadata[Any]:
    try:
        return Metadata.from_bytes(content)
    except RepositoryError as error:
        raise _damaged(role) from error


def _read_signed(role: str, content: bytes) -> Any:
    return _read(role, content).signed
