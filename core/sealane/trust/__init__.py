"""Trust: the verifier, the director document, join tokens and identities.

python-tuf imports an HTTP client for a transport of its own. Metadata comes by `trust.source` here,
and the client would cost every supervisor 2 MB, so an empty place is taken before python-tuf looks.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Final

_TRANSPORT: Final = "tuf.ngclient.urllib3_fetcher"


class Urllib3Fetcher:
    """What python-tuf would make when nobody gave it a fetcher; everybody here does."""

    def __init__(self, *_: object, **__: object) -> None:
        raise NotImplementedError("metadata comes through sealane.trust.source alone")


if _TRANSPORT not in sys.modules:
    _empty = ModuleType(_TRANSPORT)
    _empty.Urllib3Fetcher = Urllib3Fetcher  # type: ignore[attr-defined]  # a module made here
    sys.modules[_TRANSPORT] = _empty
