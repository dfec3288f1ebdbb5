#!/usr/bin/env python3
"""The device's verifier on the command line that the public tuf-conformance suite calls.

    tuf_client.py --metadata-dir DIR init ROOT
    tuf_client.py --metadata-dir DIR --metadata-url URL refresh
    tuf_client.py --metadata-dir DIR --metadata-url URL --target-name PATH --target-base-url URL
                  --target-dir DIR download

Exit code 0 when everything succeeded, 1 when something was refused or could not be had. What a
device does without a director document is done by the device's own classes: the bootstrap root, the
chain of roots, the marks that survive a power cut, the refresh, the search for a target and its
bytes. Only the transport (HTTP) and the clock (the machine's) are of this file.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from sealane import fileio
from sealane.clock import SystemClock
from sealane.errors import TrustError
from sealane.trust import anchor, held, highwater
from sealane.trust.remembered import RememberedRepository
from sealane.trust.source import MetadataMissing
from sealane.trust.steps import Step, refusing
from tuf.api.exceptions import RepositoryError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sealane.trust.repository import RepositoryView
    from tuf.api.metadata import TargetFile

DEVICE: Final = "device"
"""Folder below the metadata's: what else a device keeps. The suite reads the JSON files above."""

_TARGETS: Final = "targets/"
_PATIENCE_S: Final = 20
_CHUNK_BYTES: Final = 16 * 1024


class Web:
    """A repository behind two addresses: one of its metadata, one of its targets."""

    def __init__(self, metadata: str, targets: str) -> None:
        self._metadata, self._targets = metadata.rstrip("/"), targets.rstrip("/")

    def fetch(self, name: str, limit: int) -> Iterator[bytes]:
        """One file in chunks; raises MetadataMissing, OSError or HTTPException."""
        target = name.removeprefix(_TARGETS)
        # Names of metadata come quoted, because names of roles are anything.
        url = f"{self._metadata}/{name}" if target == name else f"{self._targets}/{quote(target)}"
        where = urlsplit(url)
        connection = http.client.HTTPConnection(where.netloc, timeout=_PATIENCE_S)
        with closing(connection):
            connection.request("GET", url.removeprefix(f"{where.scheme}://{where.netloc}"))
            answer = connection.getresponse()
            if answer.status == http.HTTPStatus.NOT_FOUND:
                raise MetadataMissing(name)
            if answer.status != http.HTTPStatus.OK:
                raise OSError(f"{url}: {answer.status} {answer.reason}")
            while limit >= 0 and (chunk := answer.read(_CHUNK_BYTES)):
                limit -= len(chunk)
                yield chunk


def init(metadata: Path, root: Path) -> None:
    """Begin to trust a root; the metadata that follows is kept where the suite looks."""
    folder = metadata / DEVICE
    content = root.read_bytes()
    anchor.bootstrap(folder, content, hashlib.sha256(content).digest())
    (folder / held.CACHE).symlink_to("..")


def refresh(metadata: Path, web: Web) -> RepositoryView:
    """Steps 1 and 12 of the verifier, and of step 11 what concerns the root."""
    folder, clock = metadata / DEVICE, SystemClock()
    repository = RememberedRepository(folder, web, clock)
    view, root = repository.follow_roots()
    marks = folder / anchor.MARKS_FILE
    highwater.save(marks, replace(highwater.load(marks), root=root.version))
    repository.refresh(view, root, clock.now())
    return view


def download(view: RepositoryView, path: str, folder: Path) -> None:
    """Steps 14 and 18 of the verifier, and a file as the result."""
    with refusing(Step.LISTED):
        target = view.listed(path)
    if target is None:
        raise TrustError(Step.LISTED, f"nobody lists {path}")
    kept = folder / quote(path, safe="")
    if kept.is_file() and _is(target, kept.read_bytes()):
        return
    with refusing(Step.MANIFEST):
        content = view.fetch(target)
    fileio.replace(kept, content)


def _is(target: TargetFile, content: bytes) -> bool:
    try:
        target.verify_length_and_hashes(content)
    except RepositoryError:
        return False
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    given = _parser().parse_args(arguments)
    try:
        if given.command == "init":
            init(given.metadata_dir, given.root)
            return 0
        view = refresh(given.metadata_dir, Web(given.metadata_url, given.target_base_url))
        if given.command == "download":
            download(view, given.target_name, given.target_dir)
    except (TrustError, OSError, http.client.HTTPException) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="The device's verifier as a TUF client.")
    parser.add_argument("--metadata-dir", type=Path, required=True)
    parser.add_argument("--metadata-url", default="")
    parser.add_argument("--target-name", default="")
    parser.add_argument("--target-base-url", default="")
    parser.add_argument("--target-dir", type=Path)
    parser.add_argument("command", choices=("init", "refresh", "download"))
    parser.add_argument("root", type=Path, nargs="?")
    return parser


if __name__ == "__main__":
    sys.exit(main())
