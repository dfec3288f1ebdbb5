"""Where things lie in an agent's state folder, and what a slot's pointer says.

The supervisor writes pointers; the endpoint only reads them, so that it serves the last known good
model when no supervisor runs.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from sealane.errors import InvalidName
from sealane.names import (
    AGENT_SLOT,
    Digest,
    ReleaseName,
    SlotName,
    hex_of,
    parse_digest,
    parse_slot,
)

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

ACTIVE = "active"
LKG = "lkg"


@dataclass(frozen=True, slots=True)
class Pointer:
    """Which variant of which bundle: the content of `slots/<slot>/active` and `…/lkg`."""

    release: ReleaseName
    manifest: Digest
    variant: str

    def encode(self) -> bytes:
        """JSON, one line."""
        fields = asdict(self) | {"release": str(self.release)}
        return json.dumps(fields, sort_keys=True).encode() + b"\n"

    @staticmethod
    @lru_cache(maxsize=16)  # a slot looks at its pointers again and again
    def decode(content: bytes) -> Pointer:
        """Read a pointer; raises ValueError, KeyError or InvalidName when it is damaged."""
        fields: dict[str, Any] = json.loads(content)
        return Pointer(
            ReleaseName.parse(fields["release"]),
            parse_digest(fields["manifest"]),
            str(fields["variant"]),
        )


@dataclass(frozen=True, slots=True)
class StateFolder:
    """The paths of one agent's state."""

    root: Path

    @property
    def identity(self) -> Path:
        """device.key, device.pem, ca.pem and device.json."""
        return self.root / "identity"

    @property
    def trust(self) -> Path:
        """bootstrap-root.json, highwater.json and python-tuf's cache."""
        return self.root / "trust"

    @property
    def journal(self) -> Path:
        """The sqlite journal: slots' states, attempts, quarantine and the outbox."""
        return self.root / "journal.db"

    @property
    def telemetry(self) -> Path:
        """The sqlite spool: windows that the manager has not stored yet."""
        return self.root / "telemetry.db"

    @property
    def partial(self) -> Path:
        """Blobs that are still being fetched."""
        return self.root / "store" / "partial"

    @property
    def blobs(self) -> Path:
        """Verified blobs, by digest."""
        return self.root / "store" / "blobs" / "sha256"

    def blob(self, digest: Digest) -> Path:
        """A verified blob."""
        return self.blobs / hex_of(digest)

    @property
    def engines(self) -> Path:
        """What engines said of themselves, by their versions."""
        return self.root / "engines.json"

    @property
    def footprints(self) -> Path:
        """What models took of this machine's memory when they were loaded."""
        return self.root / "footprints.json"

    @property
    def qualified(self) -> Path:
        """Which variant of which bundle won on this hardware."""
        return self.root / "qualified.json"

    @property
    def kit(self) -> Path:
        """A kit that was carried here, until what it brings has ended."""
        return self.root / "kit" / "kit"

    @property
    def next_kit(self) -> Path:
        """A kit that was carried here, until it is judged."""
        return self.root / "kit" / "next"

    @property
    def views(self) -> Path:
        """Bundles' files under their own names, by the manifest's digest."""
        return self.root / "store" / "views"

    def view(self, manifest: Digest) -> Path:
        """A bundle's files under their own names: hard links to blobs."""
        return self.views / hex_of(manifest)

    def pointer(self, slot: SlotName, which: str) -> Path:
        """The slot's `active` or `lkg` pointer."""
        return self.root.joinpath("slots", slot, which)

    @property
    def control_socket(self) -> Path:
        """Where the endpoint listens for the supervisor."""
        return self.root / "run" / "endpoint.sock"

    @property
    def line_socket(self) -> Path:
        """Where the supervisor listens for the line's own software."""
        return self.root / "run" / "line.sock"

    @property
    def inference_socket(self) -> Path:
        """Where the endpoint's REST door listens for clients on this machine."""
        return self.root / "run" / "inference.sock"

    @property
    def endpoint_addresses(self) -> Path:
        """JSON written by the endpoint when it listens: {"pid", "rest", "grpc"}."""
        return self.root / "run" / "endpoint.json"

    @property
    def endpoint_windows(self) -> Path:
        """Closed windows that the endpoint keeps until they are in the spool."""
        return self.root / "run" / "endpoint.windows"

    @property
    def sampling(self) -> Path:
        """JSON that the supervisor writes for the endpoint: which samples the director ordered."""
        return self.root / "sampling.json"

    @property
    def never_sample(self) -> Path:
        """While this file is here, no sample is kept or sent, whoever orders it."""
        return self.root / "sampling.never"

    @property
    def samples(self) -> Path:
        """Sealed samples that wait to be sent, and how much was spent today."""
        return self.root / "samples"

    @property
    def lock(self) -> Path:
        """Held by the one supervisor of this folder."""
        return self.root / "run" / "supervisor.lock"

    @property
    def endpoint_log(self) -> Path:
        """What the endpoint says when the supervisor started it."""
        return self.root / "log" / "endpoint.log"

    def slots(self) -> tuple[SlotName, ...]:
        """Every slot of a model that has a pointer; a stray file beside them stops nobody."""
        folder = self.root / "slots"
        if not folder.is_dir():
            return ()
        return tuple(SlotName(path.name) for path in sorted(folder.iterdir()) if _is_slot(path))


def _is_slot(path: Path) -> bool:
    try:
        parse_slot(path.name)
    except InvalidName:
        return False
    return path.is_dir() and path.name != AGENT_SLOT
