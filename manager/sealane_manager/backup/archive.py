"""The file of a backup: a tar archive with one manifest and objects named by their digests.

`tar` lists and unpacks it. It is read here header by header: every member must be the next one
that the manifest announces, an ordinary file, of the size and the digest announced. Nothing in a
header names a place on the disk.
"""

from __future__ import annotations

import hashlib
import tarfile
from typing import TYPE_CHECKING, Final

from sealane.limits import MIB
from sealane.names import Digest, hex_of

from sealane_manager.backup.contents import MANIFEST_BYTES, Contents
from sealane_manager.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import BinaryIO

MANIFEST: Final = "manifest.json"
CHUNK_BYTES: Final = MIB

_BLOCK: Final = tarfile.BLOCKSIZE
_TRUNCATED: Final = "the backup ends in the middle"


class Writer:
    """Writes an archive to an open file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def manifest(self, contents: Contents) -> None:
        """Comes first."""
        content = contents.encode()
        if len(content) > MANIFEST_BYTES:
            raise Refused(
                f"the backup's manifest is {len(content)} bytes, more than {MANIFEST_BYTES}",
                hint="there are more files in the state folder than a manager makes",
            )
        self._add(MANIFEST, len(content), iter((content,)))

    def add(self, digest: Digest, size: int, source: BinaryIO) -> None:
        """One object; raises Refused when the source is not what its digest says."""
        found = hashlib.sha256()

        def chunks() -> Iterator[bytes]:
            while chunk := source.read(CHUNK_BYTES):
                found.update(chunk)
                yield chunk

        self._add(_name(digest), size, chunks())
        if found.hexdigest() != hex_of(digest):
            raise Refused(
                f"{digest} is not what its digest says any more: it was damaged on the disk",
                hint="put it back from where it came, then make the backup again",
            )

    def close(self) -> None:
        """The end of a tar archive."""
        self._file.write(bytes(2 * _BLOCK))

    def _add(self, name: str, size: int, chunks: Iterator[bytes]) -> None:
        header = tarfile.TarInfo(name)
        header.size, header.mode = size, 0o600
        self._file.write(header.tobuf(tarfile.GNU_FORMAT))
        written = 0
        for chunk in chunks:
            self._file.write(chunk)
            written += len(chunk)
        if written != size:
            raise Refused(f"{name} changed its size while it was read", hint="try again")
        self._file.write(bytes(-size % _BLOCK))


class Reader:
    """Reads an archive from an open file, once, front to back; raises Refused."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        size = self._header(MANIFEST)
        if size > MANIFEST_BYTES:
            raise Refused(f"the backup's manifest is larger than {MANIFEST_BYTES} bytes")
        self.contents = Contents.decode(self._exactly(size))
        self._skip_padding(size)

    def objects(self, take: Callable[[Digest], AbstractContextManager[BinaryIO]]) -> None:
        """Copy every object into what `take` opens for it, then see that nothing follows."""
        for digest, size in self.contents.objects.items():
            if self._header(_name(digest)) != size:
                raise Refused(f"the backup holds {digest} in another size than it says")
            with take(digest) as target:
                self._copy(digest, size, target)
            self._skip_padding(size)
        if self._file.read(2 * _BLOCK) != bytes(2 * _BLOCK) or self._file.read(1):
            raise Refused("the backup does not end where its manifest says")

    def _copy(self, digest: Digest, size: int, target: BinaryIO) -> None:
        found, left = hashlib.sha256(), size
        while left:
            chunk = self._exactly(min(left, CHUNK_BYTES))
            found.update(chunk)
            target.write(chunk)
            left -= len(chunk)
        if found.hexdigest() != hex_of(digest):
            raise Refused(
                f"the backup is damaged: {digest} is not what its digest says",
                hint="use another copy of it",
            )

    def _header(self, name: str) -> int:
        """The size of the next member, which must have this name."""
        try:
            header = tarfile.TarInfo.frombuf(self._exactly(_BLOCK), "utf-8", "strict")
        except (tarfile.TarError, ValueError) as error:
            raise Refused(
                "this is not a backup, or it is damaged", hint="sealane backup makes them"
            ) from error
        if header.name != name or header.type != tarfile.REGTYPE or header.size < 0:
            raise Refused(f"the backup holds {header.name[:80]!r} where {name} belongs")
        return header.size

    def _exactly(self, size: int) -> bytes:
        content = self._file.read(size)
        if len(content) != size:
            raise Refused(_TRUNCATED, hint="use another copy of it")
        return content

    def _skip_padding(self, size: int) -> None:
        if any(self._exactly(-size % _BLOCK)):
            raise Refused("the backup holds something between its files")


def _name(digest: Digest) -> str:
    return f"objects/{hex_of(digest)}"
