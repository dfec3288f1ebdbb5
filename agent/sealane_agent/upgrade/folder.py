"""Where versions of the agent lie, and what is remembered of their starts."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from sealane import fileio
from sealane.errors import InvalidName
from sealane.names import AGENT_SLOT, Digest, hex_of

from sealane_agent.layout import ACTIVE, LKG, Pointer
from sealane_agent.serving.messages import GivenUp
from sealane_agent.upgrade.starts import PACKAGE, Pointers, Starts

if TYPE_CHECKING:
    from pathlib import Path

    from sealane_agent.layout import StateFolder

AGENT = "agent"
ENDPOINT = "endpoint"


@dataclass(frozen=True, slots=True)
class UpgradeFolder:
    """The paths of one state folder's versions, and what stands in them.

    A file that is damaged counts as not there: what is started then is what the pointers say.
    """

    state: StateFolder

    @property
    def root(self) -> Path:
        """Everything about versions, but the slot's pointers."""
        return self.state.root / "upgrade"

    @property
    def versions(self) -> Path:
        """A folder a version, by the manifest's digest."""
        return self.root / "versions"

    def version(self, manifest: Digest) -> Path:
        """One version's files."""
        return self.versions / hex_of(manifest)

    def pointers(self) -> Pointers:
        """What the pointers name."""
        return Pointers(
            _pointer(self.state.pointer(AGENT_SLOT, ACTIVE)),
            _pointer(self.state.pointer(AGENT_SLOT, LKG)),
            _pointer(self.root / "previous"),
        )

    def point(self, which: str, pointer: Pointer) -> None:
        """Flip one of the slot's pointers durably."""
        path = self.state.pointer(AGENT_SLOT, which)
        fileio.make_folder(path.parent)
        fileio.replace(path, pointer.encode())

    def begin(self) -> None:
        """Without any pointer yet, the package's version is the last known good one."""
        if self.pointers().lkg is None:
            self.point(LKG, PACKAGE)
            self.point(ACTIVE, PACKAGE)

    def keep_previous(self, pointer: Pointer) -> None:
        """Remember what is good now, before something else may become so."""
        fileio.make_folder(self.root)
        fileio.replace(self.root / "previous", pointer.encode())

    def starts(self, role: str) -> Starts:
        """How the version that was started last ended."""
        try:
            return Starts.decode(json.loads((self.root / f"{role}.json").read_bytes()))
        except (OSError, ValueError, KeyError, TypeError):
            return Starts()

    def write_starts(self, role: str, starts: Starts) -> None:
        """Remember it durably."""
        fileio.make_folder(self.root)
        fileio.replace(self.root / f"{role}.json", json.dumps(asdict(starts)).encode())

    def given_up(self) -> GivenUp | None:
        """The version that was given up last."""
        try:
            fields = json.loads((self.root / "given-up.json").read_bytes())
            return GivenUp(str(fields["manifest"]), str(fields["reason"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write_given_up(self, given_up: GivenUp | None) -> None:
        """Remember it durably, or forget it."""
        path = self.root / "given-up.json"
        if given_up is not None:
            fileio.make_folder(self.root)
            fileio.replace(path, json.dumps(asdict(given_up)).encode())
        elif path.exists():
            fileio.remove(path)


def _pointer(path: Path) -> Pointer | None:
    try:
        return Pointer.decode(path.read_bytes())
    except (OSError, ValueError, KeyError, TypeError, InvalidName):
        return None
