"""Decides which bundles come in: those that a producer signed whom this manager was told of.

A folder holds the public keys. Its `*.pem` are for every family; a family with a folder of its own
in it is for the keys there alone. Without such a folder nothing is demanded. The audit log has
every refusal and every bundle that came in under a producer's key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealane.bundle.signature import producer_of, signature_layer
from sealane.bundle.statement import SIGNATURE_BYTES
from sealane.errors import BundleError
from sealane.names import AGENT_MODEL, hex_of

from sealane_manager.bundle.signing import read_producer
from sealane_manager.errors import NotKnown, Refused
from sealane_manager.store.records import DecisionRecord

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sealane.bundle.signature import ProducerKey
    from sealane.bundle.types import Manifest
    from sealane.clock import Clock
    from sealane.names import ReleaseName

    from sealane_manager.blobs import BlobStore

PRODUCERS: Final = 256
"""Keys of one folder: each of them is tried on a signature."""


@dataclass(frozen=True, slots=True)
class Demand:
    """Whose signature is demanded of a family's models.

    Attributes:
        family: empty means every family that has no keys of its own.
        keys: name and SHA-256 of each.
        problem: why no key can be read, so that nothing comes in.
    """

    family: str
    keys: tuple[tuple[str, str], ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A bundle that wants to come in.

    Attributes:
        actor: who brings it.
    """

    name: ReleaseName
    manifest: Manifest
    actor: str


class Intake:
    """Asks for a producer's signature, where one is demanded, and writes down what it found."""

    def __init__(
        self,
        producers: Path | None,
        blobs: BlobStore,
        tell: Callable[[DecisionRecord], None],
        clock: Clock,
    ) -> None:
        self._producers, self._blobs = producers, blobs
        self._tell, self._clock = tell, clock

    def check(self, arrival: Arrival) -> ProducerKey | None:
        """The key that signed it, or None when none is demanded; raises Refused."""
        # Versions of the agent come from whoever made Sealane, under the keys of their own family.
        if self._producers is None or arrival.name.model == AGENT_MODEL:
            return None
        try:
            return self._signed(arrival, producers_of(self._producers, arrival.name.family))
        except (BundleError, NotKnown) as error:
            raise self._refused(arrival, str(error), error.hint) from error
        except OSError as error:
            reason = f"the keys of producers cannot be read: {error.strerror}"
            raise self._refused(arrival, reason, f"look at {self._producers}") from error

    def demands(self) -> tuple[Demand, ...]:
        """Whose signature is demanded, for every family and for single ones; empty: nobody's."""
        if self._producers is None:
            return ()
        own = sorted(path.name for path in self._producers.glob("[!.]*") if path.is_dir())
        return tuple(_demand(self._producers, family) for family in ("", *own))

    def accepted(self, arrival: Arrival, key: ProducerKey) -> None:
        """Write down that it came in."""
        self._write(arrival, "accept", f"{arrival.name}: signed by {key.name}, key {key.hint}")

    def _signed(self, arrival: Arrival, keys: tuple[ProducerKey, ...]) -> ProducerKey:
        layer = signature_layer(arrival.manifest)
        if layer is None:
            names = ", ".join(key.name for key in keys)
            raise BundleError(
                f"it has no model.sig, and one by {names} is demanded",
                hint="sign the bundle with: sealane bundle sign, or pack it with --sign-with",
            )
        content = self._blobs.content(layer.digest, SIGNATURE_BYTES)
        return producer_of(arrival.manifest, content, keys)

    def _refused(self, arrival: Arrival, reason: str, hint: str) -> Refused:
        self._write(arrival, "refuse", f"{arrival.name}: {reason}")
        message = f"{arrival.name} comes from no producer who may bring it here: {reason}"
        return Refused(message, hint=hint)

    def _write(self, arrival: Arrival, action: str, detail: str) -> None:
        evidence = hex_of(arrival.manifest.digest)
        self._tell(DecisionRecord(self._clock.now(), "", arrival.actor, action, detail, evidence))


def named_folder(folder: Path) -> Path:
    """The folder that `intake.producers` names; raises Refused when there is none.

    Its keys may come later. A folder that is not there is a wrong name, and nothing would come in.
    """
    if not folder.is_dir():
        hint = "make it and put the public keys of who may sign there, or correct intake.producers"
        raise Refused(f"there is no folder {folder}, where producers' keys should be", hint=hint)
    return folder


def _demand(folder: Path, family: str) -> Demand:
    try:
        keys = producers_of(folder, family)
    except BundleError as error:
        return Demand(family, problem=str(error))
    except OSError as error:
        return Demand(family, problem=f"cannot be read: {error.strerror}")
    return Demand(family, tuple((key.name, key.hint) for key in keys))


def producers_of(folder: Path, family: str) -> tuple[ProducerKey, ...]:
    """The keys that may sign models of a family; raises BundleError for none, or OSError."""
    own = folder / family
    place = own if own.is_dir() else folder
    paths = sorted(place.glob("*.pem"))[: PRODUCERS + 1]
    if not paths or len(paths) > PRODUCERS:
        raise BundleError(
            f"{place} holds {len(paths) or 'no'} keys of producers",
            hint=f"put the public keys of those who may sign there, at most {PRODUCERS}",
        )
    return tuple(map(read_producer, paths))
