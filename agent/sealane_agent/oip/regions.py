"""Keeps the named shared memory that clients registered: theirs alone, and never mapped.

A region belongs to the connection that registered it. Other connections of the same user may name
it too, also after that one has ended, as long as its file has a name: stock clients of C++ make a
connection for each call but inferences. Its file must belong to that user, who must be on this
machine: else a client could have the endpoint read what it may not. Bytes are read and written
through the descriptor, so that a client that shrinks its file gets an error and cannot end the
endpoint.
"""

from __future__ import annotations

import os
import stat
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sealane_agent.serving.bodies import Bodies
from sealane_agent.serving.types import InvalidInference, ModelUnknown, NotAllowed

if TYPE_CHECKING:
    from collections.abc import Callable

REGIONS: Final = 64
"""Of one client; of all clients together sixteen times as many."""

FOLDER: Final = Path("/dev/shm")  # noqa: S108 - where the system keeps shared memory

_ALL: Final = 16 * REGIONS


@dataclass(eq=False)
class Region:
    """One registered region; its descriptor is closed when nobody holds it any longer."""

    name: str
    key: str
    offset: int
    byte_size: int
    descriptor: int
    user: int
    bodies: Bodies
    closer: object = field(init=False)

    def __post_init__(self) -> None:
        self.closer = weakref.finalize(self, os.close, self.descriptor)

    @property
    def is_named(self) -> bool:
        """Whether its file can be opened by its key still."""
        return os.fstat(self.descriptor).st_nlink > 0

    def read(self, offset: int, size: int) -> memoryview:
        """Some of its bytes, in memory that is used again when nobody holds them any longer.

        Raises InvalidInference.
        """
        self._check(offset, size)
        content = self.bodies.take(size)
        if os.preadv(self.descriptor, [content], self.offset + offset) != size:
            raise InvalidInference(f"shared memory region {self.name!r} has become smaller")
        return content

    def write(self, offset: int, content: bytes | memoryview, room: int) -> None:
        """Put bytes there, in at most so much room; raises InvalidInference."""
        self._check(offset, room)
        if len(content) > room:
            raise InvalidInference(
                f"an output of {len(content)} bytes does not fit into {room} of region "
                f"{self.name!r}"
            )
        if os.fstat(self.descriptor).st_size < self.offset + offset + len(content):
            raise InvalidInference(f"shared memory region {self.name!r} has become smaller")
        os.pwrite(self.descriptor, content, self.offset + offset)

    def _check(self, offset: int, size: int) -> None:
        if offset < 0 or size < 0 or offset + size > self.byte_size:
            raise InvalidInference(
                f"region {self.name!r} has {self.byte_size} bytes, {offset} to {offset + size} "
                "were named"
            )


class Regions:
    """Every client's regions; `user_of` says whose connection a client is, None when it is gone.

    `allowed` is whether the endpoint's owner wants any of this.
    """

    def __init__(self, user_of: Callable[[str], int | None], *, allowed: bool) -> None:
        self._user_of = user_of
        self._allowed = allowed
        self._of: dict[str, dict[str, Region]] = {}
        self._left: dict[int, dict[str, Region]] = {}
        self._bodies = Bodies()

    def register(self, client: str, name: str, place: tuple[str, int, int]) -> None:
        """Let a client name a region: its key, offset and size.

        Raises NotAllowed or InvalidInference; the key is never repeated, it may be a guess.
        """
        if not self._allowed:
            raise NotAllowed(
                "shared memory is not offered here", hint="its owner can set endpoint.shared_memory"
            )
        user = self._user_of(client)
        if user is None:
            raise NotAllowed("shared memory is for clients on this machine")
        self._forget_the_gone()
        mine = self._of.setdefault(client, {})
        if name in mine:
            raise InvalidInference(f"shared memory region {name!r} is registered already")
        if len(mine) >= REGIONS or sum(map(len, self._of.values())) >= _ALL:
            raise InvalidInference(f"a client registers at most {REGIONS} regions")
        mine[name] = Region(name, *place, _open(name, place, user), user, self._bodies)
        self._left.get(user, {}).pop(name, None)

    def unregister(self, client: str, name: str = "") -> None:
        """Forget one region of the client, or all; what is written just now is written."""
        mine = self._of.get(client, {})
        for each in [name] if name in mine else [] if name else list(mine):
            del mine[each]
        if not mine:
            self._of.pop(client, None)

    def leave(self, client: str) -> None:
        """A connection has ended: its user may name its regions still, the youngest ones."""
        for name, region in self._of.pop(client, {}).items():
            left = self._left.setdefault(region.user, {})
            left[name] = region
            for gone in [each for each, other in left.items() if not other.is_named]:
                del left[gone]
            while len(left) > REGIONS:
                del left[next(iter(left))]

    def status(self, client: str, name: str = "") -> tuple[Region, ...]:
        """The client's regions, or the named one; raises ModelUnknown."""
        mine = self._of.get(client, {})
        return (self.find(client, name),) if name else tuple(mine.values())

    def find(self, client: str, name: str) -> Region:
        """One region of the client, or of another connection of its user; raises ModelUnknown."""
        region = self._of.get(client, {}).get(name)
        if region is None:
            region = self._of_its_user(client, name)
        if region is None:
            raise ModelUnknown(f"no shared memory region {name[:80]!r} of this user")
        return region

    def _of_its_user(self, client: str, name: str) -> Region | None:
        """Asked anew each time: an address that one user leaves another may get."""
        places = (*self._of.values(), *self._left.values())
        known = [each[name] for each in places if name in each and each[name].is_named]
        user = self._user_of(client) if known else None
        return next((region for region in known if region.user == user), None)

    def _forget_the_gone(self) -> None:
        for client in [client for client in self._of if self._user_of(client) is None]:
            self.leave(client)


def _open(name: str, place: tuple[str, int, int], user: int) -> int:
    """The descriptor of the file behind a key; raises InvalidInference."""
    key, offset, byte_size = place
    plain = key.removeprefix("/")
    if not plain or "/" in plain or plain.startswith("."):
        raise InvalidInference("the key of a region is one name, as shm_open takes it")
    try:
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(FOLDER / plain, flags)
    except OSError:
        raise InvalidInference(f"the memory of region {name!r} cannot be opened") from None
    facts = os.fstat(descriptor)
    wrong = not stat.S_ISREG(facts.st_mode) or facts.st_uid != user
    if wrong or byte_size <= 0 or offset < 0 or offset + byte_size > facts.st_size:
        os.close(descriptor)
        raise InvalidInference(
            f"the memory of region {name!r} is not the client's own, or smaller than it says"
        )
    return descriptor
