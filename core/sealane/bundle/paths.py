"""Decides which paths a file of a bundle may have.

A whitelist: what is allowed is safe on every file system, in a log line and on a command line.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from sealane.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterable

PATH_CHARS: Final = 240
"""Leaves room for the folder of a device below the 255 characters that some file systems allow."""

PATH_SEGMENTS: Final = 8
"""Nested folders of one bundle."""

CONFIG_PATH: Final = "model-config.json"
"""Where the manifest's config is kept beside the files; no layer may have this path."""

_SEGMENT: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.+-]{0,98}[A-Za-z0-9_+-])?")
_DEVICE_NAME: Final = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)
_HINT: Final = (
    "use relative paths of A-Z, a-z, 0-9, '_', '-', '+', '.' and '/', without hidden files or '..'"
)


def check_path(path: str) -> str:
    """Return the path, or raise BundleError."""
    segments = path.split("/")
    if len(path) > PATH_CHARS or len(segments) > PATH_SEGMENTS:
        raise BundleError(f"{path[:80]!r} is too long or too deep for a path", hint=_HINT)
    for segment in segments:
        if not _SEGMENT.fullmatch(segment) or _DEVICE_NAME.fullmatch(segment):
            raise BundleError(f"{path[:80]!r} is not a path that a bundle may hold", hint=_HINT)
    if path.lower() == CONFIG_PATH:
        raise BundleError(f"{path!r} is reserved in a bundle", hint="rename the file")
    return path


def check_paths(paths: Iterable[str]) -> None:
    """Raise BundleError unless all can lie in one folder, whatever the file system folds."""
    files: dict[str, str] = {}
    for path in paths:
        folded = check_path(path).lower()
        if folded in files:
            raise BundleError(
                f"{path!r} and {files[folded]!r} are one file where case does not count",
                hint="rename one of them",
            )
        files[folded] = path
    for folded, path in files.items():
        if any(parent in files for parent in _parents(folded)):
            raise BundleError(f"{path!r} lies below another file", hint="rename one of them")


def _parents(path: str) -> list[str]:
    segments = path.split("/")
    return ["/".join(segments[:count]) for count in range(1, len(segments))]
