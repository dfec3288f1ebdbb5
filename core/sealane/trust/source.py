"""Where metadata comes from: a seam of one method, and its adapter for python-tuf.

The source is untrusted and the adapter bounds it: every file has a limit in bytes and in seconds,
whatever the signed metadata says about lengths.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from tuf.api.exceptions import DownloadError, DownloadHTTPError, DownloadLengthMismatchError
from tuf.ngclient.fetcher import FetcherInterface

from sealane import limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealane.clock import Clock

BASE_URL: Final = "sealane:///"
"""What python-tuf puts before every name; it never leaves this process."""

_NOT_FOUND: Final = 404


class MetadataMissing(Exception):  # noqa: N818 - an answer of the repository, not a fault
    """The repository has no file of that name."""


class MetadataSource(Protocol):
    """Anything that delivers the files of a TUF repository by name."""

    def fetch(self, name: str, limit: int) -> Iterator[bytes]:
        """Deliver a file in chunks; nobody reads more than `limit` bytes.

        Raises:
            MetadataMissing: the repository has no such file; anything else is transport trouble.
        """
        ...


class BoundedFetcher(FetcherInterface):
    """Python-tuf's view of a source, for one verification.

    A file that was missing stays missing, so that the root cannot change between two steps.
    """

    def __init__(self, source: MetadataSource, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._missing: set[str] = set()

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """The whole file; raises DownloadError, or whatever the transport raises."""
        limit = min(max_length, limits.TARGETS_BYTES)
        content = bytearray()
        for chunk in self._bounded(url.removeprefix(BASE_URL), limit):
            content += chunk
            if len(content) > limit:
                raise DownloadLengthMismatchError(f"{url} is longer than {limit} bytes")
        return bytes(content)

    def _fetch(self, url: str) -> Iterator[bytes]:
        return self._bounded(url.removeprefix(BASE_URL), limits.TARGETS_BYTES)

    def _bounded(self, name: str, limit: int) -> Iterator[bytes]:
        if name in self._missing:
            raise DownloadHTTPError(f"the repository has no {name}", _NOT_FOUND)
        deadline = self._clock.monotonic() + limits.METADATA_SECONDS
        try:
            for chunk in self._source.fetch(name, limit):
                if self._clock.monotonic() > deadline:
                    raise DownloadError(f"{name} did not arrive in {limits.METADATA_SECONDS:g} s")
                yield chunk
        except MetadataMissing as error:
            self._missing.add(name)
            raise DownloadHTTPError(f"the repository has no {name}", _NOT_FOUND) from error
