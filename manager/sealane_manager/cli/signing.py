"""A holder at work: what is called current is judged before anything is shown or signed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer
from sealane.errors import SealaneError
from tuf.api.metadata import Root

from sealane_manager.cli import changes as words
from sealane_manager.cli.desk import ask_secret
from sealane_manager.cli.output import errors
from sealane_manager.errors import NotKnown, Refused
from sealane_manager.shown import shown
from sealane_manager.trust.changes import encode, fingerprint_of
from sealane_manager.trust.endings import standing
from sealane_manager.trust.memory import memory_of, recall, remember
from sealane_manager.trust.overview import roots_keys
from sealane_manager.trust.proposals import look
from sealane_manager.trust.scrutiny import judge_current, judge_root
from sealane_manager.trust.signers import open_signer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sealane.names import Digest
    from securesystemslib.signer import Signer

    from sealane_manager.client import Operator
    from sealane_manager.trust.changes import Change, Offer, Outcome
    from sealane_manager.trust.proposals import Look, TrustDesk


@dataclass(frozen=True, slots=True)
class Pen:
    """The key that a holder signs with, and where its file lies."""

    path: Path
    signer: Signer

    @property
    def keyid(self) -> str:
        """The key's id."""
        return self.signer.public_key.keyid

    def look(self, desk: TrustDesk, fleet: str) -> Look:
        """What a manager has, believed only as far as this key can follow; raises SealaneError."""
        known = recall(self.path, fleet)
        found = look(desk, known.signed.version if known else None)
        self.witness(found, fleet)
        return found

    def witness(self, found: Look, fleet: str) -> None:
        """Follow from the root that this key has seen, and remember the new one; raises Refused."""
        judge_current(found.current)
        known = recall(self.path, fleet)
        if Root.type not in found.current:
            if known is not None:
                raise Refused(
                    f"this key has seen root {known.signed.version} of this fleet, here is none",
                    hint="do not sign, and tell the other holders: somebody begins it once more",
                )
            _say(f"the fleet {shown(fleet)} has no root yet")
            return
        root = found.current[Root.type]
        if known is None:
            self._tell_first(found, fleet)
        else:
            judge_root(known, root, found.roots)
        if known is None or root.signed.version > known.signed.version:
            self._remember(found, fleet)

    def _tell_first(self, found: Look, fleet: str) -> None:
        root = found.current[Root.type]
        _say(f"this key looks at the fleet {shown(fleet)} for the first time:")
        _say(f"  root {root.signed.version}, fingerprint {words.short(fingerprint_of(root))}")
        for line in roots_keys(root.signed):
            _say(f"  {line}")
        _say("  check: do the other holders see the same? From now on this key follows it.")

    def _remember(self, found: Look, fleet: str) -> None:
        try:
            remember(self.path, fleet, found.current[Root.type])
        except OSError as error:
            errors.print(
                f"warning: {memory_of(self.path)} cannot be written ({error.strerror}): compare "
                "the root's fingerprint with the other holders each time",
                style="yellow",
                markup=False,
            )


def _say(text: str) -> None:
    """Beside what the command answers, which programs may read."""
    typer.echo(text, err=True)


def open_pen(path: Path) -> Pen:
    """The key in a file, or the one in a token or a service; raises SealaneError."""
    try:
        return Pen(path, open_signer(path, ask_secret))
    except FileNotFoundError as error:
        raise SealaneError(
            f"the key {path.name} is not on this machine",
            hint="sign where it is kept, or name it with --key; `sealane trust show` lists all",
        ) from error


@dataclass(frozen=True, slots=True)
class WitnessedDesk:
    """A manager whose metadata is believed only as far as a key can follow."""

    manager: Operator
    pen: Pen

    def get_metadata(self, role: str) -> bytes:
        """The current metadata of a role; raises NotKnown, and Refused when it is doubtful."""
        current = self.pen.look(self.manager, self.manager.fleet).current
        document = standing(role, current)
        if document is None:
            raise NotKnown(
                f"there is no family {role[:80]!r}", hint="add it with: sealane trust add-family"
            )
        return encode(document)

    def changes(self) -> tuple[Change, ...]:
        """Every change that waits for signatures."""
        return self.manager.changes()

    def submit(self, offer: Offer) -> Outcome:
        """Propose, or bring signatures; raises Refused."""
        return self.manager.submit(offer)

    def missing_blobs(self, digests: Sequence[Digest]) -> Sequence[Digest]:
        """Which of these blobs it does not hold yet."""
        return self.manager.missing_blobs(digests)

    def upload_blob(self, digest: Digest, source: Path, progress: Callable[[int], None]) -> None:
        """Send one blob; `progress` is told the bytes of each part sent."""
        self.manager.upload_blob(digest, source, progress)
