"""Where things lie in a manager's state folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sealane.names import Digest, hex_of

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class StateFolder:
    """The paths of one manager's state."""

    root: Path

    @property
    def settings(self) -> Path:
        """JSON: the fleet's name, the host's names and whether keys are for development."""
        return self.root / "fleet.json"

    @property
    def tuf(self) -> Path:
        """The TUF repository: N.root.json, N.targets.json, …, timestamp.json."""
        return self.root / "tuf"

    @property
    def changes(self) -> Path:
        """Proposed changes of the trust root that wait for signatures, as JSON, one a role."""
        return self.root / "changes"

    @property
    def keys(self) -> Path:
        """Signing keys as PEM, one a role; in production only snapshot, timestamp and director."""
        return self.root / "keys"

    @property
    def ca(self) -> Path:
        """ca.key, ca.pem, server.key and server.pem."""
        return self.root / "ca"

    @property
    def operator(self) -> Path:
        """A context for the command line: operator.key, operator.pem, ca.pem, context.json."""
        return self.root / "operator"

    @property
    def database(self) -> Path:
        """control.db."""
        return self.root / "control.db"

    @property
    def alerts(self) -> Path:
        """alerts.json: whom to tell of alerts; there need not be one."""
        return self.root / "alerts.json"

    @property
    def sso(self) -> Path:
        """sso.json: the identity provider that people log in with; there need not be one."""
        return self.root / "sso.json"

    @property
    def samples(self) -> Path:
        """Sealed samples of inputs, by the SHA-256 of their bytes."""
        return self.root / "samples"

    @property
    def sample_key(self) -> Path:
        """X25519 key that opens samples, PEM; there is none before the first order."""
        return self.root / "keys" / "sample.pem"

    @property
    def addresses(self) -> Path:
        """JSON written by `sealane serve` when it listens: fleet, enrol, operator."""
        return self.root / "run" / "serve.json"

    @property
    def uploads(self) -> Path:
        """Blobs that are still being uploaded."""
        return self.root / "blobs" / "partial"

    @property
    def patches(self) -> Path:
        """Patches between blobs, as devices asked for them; may be deleted at any time."""
        return self.root / "blobs" / "patches"

    def blob(self, digest: Digest) -> Path:
        """A blob of a bundle."""
        return self.root / "blobs" / "sha256" / hex_of(digest)
