"""SHA-256 of models, by the library that checks signatures.

The standard library's is fast only with an OpenSSL of its own behind it. A supervisor does without
that one (`spared.py`), and what the standard library brings itself takes nine times as long: good
for documents, not for models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.hashes import SHA256, Hash

if TYPE_CHECKING:
    from typing import BinaryIO

_PIECE: Final = 256 * 1024


class Sha256:
    """The digest of what it was given so far."""

    def __init__(self) -> None:
        self._hash = Hash(SHA256())

    def update(self, data: bytes | memoryview) -> None:
        """Go on with these bytes."""
        self._hash.update(data)

    def hexdigest(self) -> str:
        """64 lower-case characters; one may go on afterwards."""
        return self._hash.copy().finalize().hex()


def file_sha256(file: BinaryIO) -> Sha256:
    """The digest of a file that was opened without a buffer or with one, from here to its end."""
    found, piece = Sha256(), memoryview(bytearray(_PIECE))
    while read := file.readinto(piece):  # type: ignore[attr-defined]  # BinaryIO leaves it out
        found.update(piece[:read])
    return found
