"""Serves the browser's files: our own, and those that scripts/assets fetched, by their content."""

from __future__ import annotations

import hashlib
import logging
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from starlette.responses import FileResponse, Response

from sealane_manager.dashboard.headers import FOR_EVER

if TYPE_CHECKING:
    from starlette.requests import Request

_HERE: Final = Path(__file__).parent
_FOLDERS: Final = (_HERE / "static", _HERE / "vendor")

FETCHED: Final = (
    "htmx.min.js",
    "hx-sse.min.js",
    "inter.woff2",
    "uPlot.iife.min.js",
    "uPlot.min.css",
)
"""Files that `scripts/assets` puts into `vendor`."""

_log = logging.getLogger(__name__)


@cache
def _files() -> dict[str, tuple[Path, str]]:
    found = (path for folder in _FOLDERS if folder.is_dir() for path in folder.iterdir())
    return {path.name: (path, _version(path)) for path in found if path.is_file()}


def _version(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def check() -> None:
    """Say in the log when files are missing; the pages work without them, but look poor."""
    missing = [name for name in FETCHED if name not in _files()]
    if missing:
        _log.warning("the dashboard lacks %s: run scripts/assets", ", ".join(missing))


def address(name: str) -> str:
    """Where a file is; changes with its content."""
    file = _files().get(name)
    return f"/static/{name}?v={file[1]}" if file else f"/static/{name}"


def serve(request: Request) -> Response:
    """One file."""
    found = _files().get(request.path_params["name"])
    if not found:
        return Response("there is no such file", 404, media_type="text/plain")
    path, version = found
    named = request.query_params.get("v") == version
    return FileResponse(path, headers={"Cache-Control": FOR_EVER if named else "no-cache"})
