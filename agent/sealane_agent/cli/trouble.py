"""Says in one line, and with what to do next, what the operating system refused. Pure."""

from __future__ import annotations

import errno
from typing import Final

_OWNER: Final = "do it as root, or as the user to whom the state folder belongs"
_HINTS: Final = {
    errno.ENOSPC: "free some space there, then do it again; nothing is lost",
    errno.EROFS: "see the kernel's log, then mount it for writing again; what serves goes on",
    errno.EACCES: _OWNER,
    errno.EPERM: _OWNER,
    errno.EIO: "look at the disk: the kernel's log says more",
}


def told(error: OSError) -> tuple[str, str]:
    """What is wrong, with the file that it is about, and a hint, which may be empty."""
    what = error.strerror or str(error)
    where = error.filename
    name = where.decode(errors="replace") if isinstance(where, bytes) else where
    text = f"{name}: {what.lower()}" if name else what.lower()
    return text, _HINTS.get(error.errno or 0, "")
