"""Sticks with kits on them, and the manager that made them."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, Final

from sealane.kit.index import Index
from sealane.names import DeviceId
from support.crash_plant import FLEET, bundle
from support.trust import DEVICE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from support.crash_plant import Plant, Wish

KIT: Final = "kit-1"
"""Names it, and the rollout of what it brings."""

OLDER: Final = "kit-0"
"""It was made before, and is refused after the other one."""

LINK_S: Final = 40.0
"""After the import the link is out for so long."""


@dataclass(frozen=True)
class Stick:
    """A kit for the device.

    Attributes:
        version: of the director's document in it.
        wishes: what the manager wants once it hears that the kit was taken up.
    """

    content: bytes
    version: int
    wishes: tuple[Wish, ...]

    @contextmanager
    def plugged_in(self) -> Iterator[BinaryIO]:
        """The file on it, which lies on no disk of the device."""
        with TemporaryFile() as file:
            file.write(self.content)
            file.seek(0)
            yield file


def outdated(plant: Plant) -> Stick:
    """A kit from before, as small as a kit can be: its document is refused for its age."""
    before, now = plant.clock.now(), plant.clock.now() + timedelta(days=1)
    document = plant.authority.direct(plant.manager, None, plant.clock)
    index = Index(OLDER, FLEET, now, {DeviceId(DEVICE): len(document)}, {}, {})
    return Stick(index.encode() + document, int(before.timestamp()), ())


def exported(plant: Plant, *wishes: Wish) -> Stick:
    """A kit of now that brings what the first wish names."""
    until = plant.clock.now() + timedelta(days=1)
    asked = replace(plant.manager, wishes=wishes)
    document = plant.authority.direct(asked, None, plant.clock)
    parts: dict[str, dict[Any, bytes]] = {
        "documents": {DeviceId(DEVICE): document},
        "metadata": dict(sorted(plant.authority.simulator.files.items())),
        "blobs": dict(sorted(bundle(wishes[0].version)[1].items())),
    }
    sizes: dict[str, Any] = {
        kind: {name: len(content) for name, content in of.items()} for kind, of in parts.items()
    }
    bodies = [content for of in parts.values() for content in of.values()]
    index = Index(KIT, FLEET, until, **sizes)
    version = int(plant.clock.now().timestamp())
    return Stick(index.encode() + b"".join(bodies), version, wishes)
