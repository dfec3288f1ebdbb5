"""A TUF repository that a test publishes step by step, and a web server that delivers it.

The repository holds every key and signs whatever it is told to; what was published stays under its
version, so that old files can be shown again. The server writes down what was asked for.
"""

from __future__ import annotations

import hashlib
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import unquote

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

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TOP: Final = ("targets", "snapshot", "timestamp")
"""What one publication of news signs, in this order."""

Asked = tuple[str, int | None]
"""A role as its name stood in the address, and the version before it."""


def days(count: float) -> datetime:
    """So many days from now, in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0) + timedelta(days=count)


@dataclass
class Repository:
    """One repository.

    Attributes:
        signed: each role as it will be signed next.
        signers: who signs each role.
        published: each role's files under the version in their address; 0 is the newest.
        artifacts: what the server delivers under an address below `targets/`.
        asked: metadata that was asked for, in order; fetched: artifacts.
        hashes: snapshot and timestamp name lengths and hashes.
    """

    signed: dict[str, Any] = field(default_factory=dict)
    signers: dict[str, list[CryptoSigner]] = field(default_factory=dict)
    published: dict[str, dict[int, bytes]] = field(default_factory=dict)
    artifacts: dict[str, bytes] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    hashes: bool = False
    consistent: bool = True

    def __post_init__(self) -> None:
        self.signed = {
            "root": Root(expires=days(30), consistent_snapshot=self.consistent),
            "targets": Targets(expires=days(30)),
            "snapshot": Snapshot(expires=days(30)),
            "timestamp": Timestamp(expires=days(30)),
        }
        for role in self.signed:
            self.add_key(role)
        self.publish("root", *TOP)

    @property
    def root(self) -> Root:
        return cast("Root", self.signed["root"])

    @property
    def snapshot(self) -> Snapshot:
        return cast("Snapshot", self.signed["snapshot"])

    @property
    def timestamp(self) -> Timestamp:
        return cast("Timestamp", self.signed["timestamp"])

    def targets(self, role: str = "targets") -> Targets:
        return cast("Targets", self.signed[role])

    # Keys.

    def add_key(self, role: str, signer: CryptoSigner | None = None) -> CryptoSigner:
        """Give a role of the root one more key, and sign with it."""
        signer = signer or CryptoSigner.generate_ed25519()
        self.root.add_key(signer.public_key, role)
        self.signers.setdefault(role, []).append(signer)
        return signer

    def replace_keys(self, role: str, threshold: int, keys: Sequence[CryptoSigner]) -> None:
        """These keys and no others; who signs is left alone."""
        for keyid in list(self.root.roles[role].keyids):
            self.root.revoke_key(keyid, role)
        self.root.roles[role].threshold = threshold
        for signer in keys:
            self.root.add_key(signer.public_key, role)

    def rotate(self, *roles: str) -> None:
        """One new key for each role, instead of all that it had."""
        for role in roles:
            signer = CryptoSigner.generate_ed25519()
            self.replace_keys(role, 1, [signer])
            self.signers[role] = [signer]

    # Publishing.

    def publish(self, *roles: str, under: int | None = None) -> None:
        """Sign the next version of each role, and name it where it is named.

        `under`: the version in the address, when it shall be another one than in the file.
        """
        for role in roles:
            signed = self.signed[role]
            if role in self.published:
                signed.version += 1
            content = encoded(signed, self.signers[role])
            self.put(role, signed.version if under is None else under, content)
            self._name(role, signed.version, content)

    def put(self, role: str, version: int, content: bytes) -> None:
        """Deliver these bytes as that version, and as the newest."""
        self.published.setdefault(role, {}).update({version: content, 0: content})

    def back_to(self, role: str, version: int) -> None:
        """Publish a role again as this version, whatever was published since."""
        self.signed[role].version = version - 1
        self.published.setdefault(role, {})
        self.publish(role)

    def _name(self, role: str, version: int, content: bytes) -> None:
        digest = {"sha256": hashlib.sha256(content).hexdigest()} if self.hashes else None
        meta = MetaFile(version, len(content) if self.hashes else None, digest)
        if role == "snapshot":
            self.timestamp.snapshot_meta = meta
        elif role not in ("root", "timestamp"):
            self.snapshot.meta[f"{role}.json"] = meta

    # Targets.

    def delegate(
        self, delegator: str, role: DelegatedRole, expires: datetime | None = None
    ) -> None:
        """Name a role in another one's delegations, last, with one key."""
        above = self.targets(delegator)
        if above.delegations is None:
            above.delegations = Delegations({}, {})
        cast("dict[str, DelegatedRole]", above.delegations.roles)[role.name] = role
        known = self.signers.get(role.name) or [CryptoSigner.generate_ed25519()]
        self.signers[role.name] = known
        above.add_key(known[0].public_key, role.name)
        self.signed.setdefault(role.name, Targets(expires=expires or days(30)))

    def add(
        self, role: str, path: str, content: bytes, hashes: Sequence[str] = ("sha256",)
    ) -> None:
        """List a target and deliver it under each of its hashes, and without."""
        target = TargetFile.from_data(path, content, list(hashes))
        self.targets(role).targets[path] = target
        self.deliver(path, content)

    def deliver(self, path: str, content: bytes) -> None:
        """Answer with these bytes wherever this target is listed."""
        folder, slash, name = path.rpartition("/")
        self.artifacts[path] = content
        for role in self.signed.values():
            if isinstance(role, Targets) and path in role.targets:
                for digest in role.targets[path].hashes.values():
                    self.artifacts[f"{folder}{slash}{digest}.{name}"] = content

    # The network.

    def answer(self, address: str) -> bytes | None:
        """What lies at `metadata/…` or `targets/…`; None when nothing does."""
        kind, _, name = address.partition("/")
        if kind == "targets":
            self.fetched.append(unquote(name))
            return self.artifacts.get(unquote(name))
        return self._metadata(name.removesuffix(".json"))

    def _metadata(self, name: str) -> bytes | None:
        before, dot, role = name.partition(".")
        if not dot or not before.isdigit():
            self.asked.append((name, None))
            return self.published.get(unquote(name), {}).get(0)
        self.asked.append((role, int(before)))
        return self.published.get(unquote(role), {}).get(int(before))


def encoded(signed: Any, signers: Sequence[CryptoSigner]) -> bytes:
    """A file with these signatures."""
    metadata: Metadata[Any] = Metadata(signed)
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata.to_bytes()


class Server(ThreadingHTTPServer):
    """Delivers any number of repositories on loopback, each below its number."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: list[Repository] = []

    def add(self, repository: Repository) -> str:
        """The address of a new repository."""
        self.repositories.append(repository)
        return f"http://127.0.0.1:{self.server_address[1]}/{len(self.repositories) - 1}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        _, number, address = self.path.split("/", 2)
        content = cast("Server", self.server).repositories[int(number)].answer(address)
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@contextmanager
def serving() -> Iterator[Server]:
    """A server on a thread of its own."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
