"""Speaks the OCI distribution API 1.1 about one repository: manifests, blobs, uploads.

Every digest is checked by whoever receives the bytes: manifests here, blobs where they are written.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from sealane.bundle.manifest import OCI_MANIFEST, digest_of
from sealane.errors import BundleError
from sealane.limits import MANIFEST_BYTES

from sealane_manager.errors import NotKnown, RegistryError
from sealane_manager.registry.origins import led
from sealane_manager.registry.request import Request
from sealane_manager.shown import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealane.bundle.types import Manifest
    from sealane.names import Digest

    from sealane_manager.registry.access import Access
    from sealane_manager.registry.reference import Reference
    from sealane_manager.registry.wire import Answer

FINISH_SECONDS: Final = 900.0
"""At the end of an upload a registry may hash all of it, or copy it within an object store."""

_OK: Final = 200
_CREATED: Final = 201
_ACCEPTED: Final = 202
_NO_CONTENT: Final = 204
_PARTIAL: Final = 206
_MISSING: Final = 404
_NOT_SATISFIABLE: Final = 416
_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_RANGE: Final = re.compile(r"(?:bytes=)?0-(\d{1,19})")
_BYTES: Final = {"Content-Type": "application/octet-stream"}


@dataclass(frozen=True, slots=True)
class Opened:
    """An upload that the registry takes.

    Attributes:
        url: where the next bytes go.
        least: bytes that a part must have, unless it is the last one; 0: any.
    """

    url: str
    least: int = 0


class Repository:
    """One repository of one registry. Raises what Access raises."""

    def __init__(self, access: Access, reference: Reference) -> None:
        self._access, self.reference = access, reference
        self._path = f"/v2/{reference.repository}"

    def manifest(self) -> bytes:
        """The manifest that the reference names, of the digest that it gives.

        Raises BundleError when the bytes are others.
        """
        wanted = self.reference
        request = Request("GET", self._manifest_url(wanted.named), {"Accept": OCI_MANIFEST})
        with self._access.right(request, _OK) as answer:
            kind = answer.header("Content-Type").partition(";")[0].strip()
            if kind != OCI_MANIFEST:
                raise RegistryError(
                    f"{wanted} is of the type {kind[:80]!r}, not the manifest of one bundle",
                    hint="name the repository and tag that `sealane bundle push` wrote",
                )
            content = answer.content(MANIFEST_BYTES)
            claimed = answer.header("Docker-Content-Digest")
        found = digest_of(content)
        if found != (wanted.digest or found) or claimed not in {"", found}:
            raise BundleError(
                f"{wanted.host} gives a manifest of {found} for {wanted.digest or shown(claimed)}",
                hint="the registry's store is damaged, or somebody changed it: nothing was kept",
            )
        return content

    def manifest_digest(self, name: str) -> str:
        """What a tag or digest stands for in the registry, empty when it has none."""
        request = Request("GET", self._manifest_url(name), {"Accept": OCI_MANIFEST})
        try:
            with self._access.right(request, _OK) as answer:
                return digest_of(answer.content(MANIFEST_BYTES))
        except NotKnown:
            return ""

    def put_manifest(self, name: str, manifest: Manifest) -> None:
        """Store a manifest under a tag or its digest, and see that it is what others will get."""
        headers = {"Content-Type": OCI_MANIFEST}
        request = Request("PUT", self._manifest_url(name), headers, manifest.content)
        with self._access.right(request, _CREATED, _ACCEPTED, _OK):
            pass
        if (kept := self.manifest_digest(name)) != manifest.digest:
            raise RegistryError(
                f"{self._access.host} stores {kept or 'nothing'} as {name}, not {manifest.digest}",
                hint="this registry changes what it is given: bundles cannot be kept in it",
            )

    def has(self, digest: Digest, size: int) -> bool:
        """Whether the registry holds a blob of this digest and size."""
        request = Request("HEAD", self._blob_url(digest))
        with self._access.asked(request) as answer:
            return answer.status == _OK and answer.header("Content-Length") in {"", str(size)}

    @contextmanager
    def blob(self, digest: Digest, size: int, offset: int) -> Iterator[tuple[int, Answer]]:
        """A blob's bytes: from where they begin, which is `offset` or 0, and the answer.

        A registry that knows no ranges begins at 0.
        """
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        request = Request("GET", self._blob_url(digest), headers)
        with self._access.right(request, _OK, _PARTIAL, _NOT_SATISFIABLE) as answer:
            if answer.status == _NOT_SATISFIABLE:
                raise RegistryError(f"{self._access.host} has less of {digest} than its size")
            begun = _begun(answer, offset, size) if answer.status == _PARTIAL else 0
            _check_length(answer, size - begun, digest)
            yield begun, answer

    def begin_upload(self, digest: Digest, source: str) -> Opened | None:
        """Begin a blob; None: the registry had it in the repository `source`, and has it now."""
        query = {"mount": digest, "from": source} if source else {}
        url = self._access.address(f"{self._path}/blobs/uploads/")
        if query:
            url += f"?{urlencode(query)}"
        request = Request("POST", url, {"Content-Length": "0"}, b"")
        with self._access.right(request, _CREATED, _ACCEPTED) as answer:
            return None if answer.status == _CREATED else _next(answer)

    def send_part(self, opened: Opened, start: int, part: bytes) -> Opened:
        """Append bytes to an upload of which the registry has `start`."""
        headers = {**_BYTES, "Content-Range": f"{start}-{start + len(part) - 1}"}
        request = Request("PATCH", opened.url, headers, part)
        with self._access.right(request, _ACCEPTED) as answer:
            return _next(answer, opened.least)

    def received(self, opened: Opened) -> tuple[Opened, int]:
        """Where an upload goes on after a broken connection, and how much the registry has."""
        with self._access.right(Request("GET", opened.url), _NO_CONTENT) as answer:
            found = _RANGE.fullmatch(answer.header("Range").strip())
            following = answer.header("Location")
            again = Opened(led(opened.url, following), opened.least) if following else opened
            # `0-0` is what an upload without bytes says as well: a byte sent twice is refused.
            return again, int(found[1]) + 1 if found and found[1] != "0" else 0

    def finish_upload(self, opened: Opened, digest: Digest, rest: bytes) -> None:
        """Send the rest, or all, of a blob, and let the registry check its digest."""
        joint = "&" if "?" in opened.url else "?"
        url = f"{opened.url}{joint}{urlencode({'digest': digest})}"
        request = Request("PUT", url, _BYTES, rest, FINISH_SECONDS)
        with self._access.right(request, _CREATED, _NO_CONTENT):
            pass

    def _manifest_url(self, name: str) -> str:
        return self._access.address(f"{self._path}/manifests/{name}")

    def _blob_url(self, digest: Digest) -> str:
        return self._access.address(f"{self._path}/blobs/{digest}")


def _next(answer: Answer, least: int = 0) -> Opened:
    location = answer.header("Location")
    if not location:
        raise RegistryError("the registry takes an upload and does not say where")
    said = answer.header("OCI-Chunk-Min-Length")
    if said.isascii() and said.isdigit() and len(said) < 16:  # noqa: PLR2004 - more digits than any size
        least = int(said)
    return Opened(led(answer.url, location), least)


def _begun(answer: Answer, offset: int, size: int) -> int:
    """Where a part of a blob begins: where it was asked for, or RegistryError."""
    found = _CONTENT_RANGE.fullmatch(answer.header("Content-Range").strip())
    if not found or int(found[1]) != offset or found[3] not in {"*", str(size)}:
        raise RegistryError("the registry sends another part of the blob than was asked for")
    return offset


def _check_length(answer: Answer, expected: int, digest: Digest) -> None:
    length = answer.header("Content-Length")
    if length and length != str(expected):
        raise BundleError(
            f"the registry announces {shown(length)} bytes of {digest}, where {expected} follow",
            hint="its store is damaged: nothing was kept of them",
        )
