"""The verification steps as a TrustError names them; `sealane.trust.verifier` explains them."""

from __future__ import annotations

from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING

from tuf.api.exceptions import DownloadError, RepositoryError

from sealane.errors import TrustError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Step(StrEnum):
    """Number and name of each step."""

    STATE = "0 state"
    ROOT_CHAIN = "1 root chain"
    DIRECTOR_KEY = "2 director key"
    SIZE_CAP = "3 size cap"
    THRESHOLD = "4 threshold"
    DEVICE = "5 device"
    NONCE = "6 nonce"
    VERSION_FLOOR = "7 version floor"
    TIME_FLOOR = "8 time floor"
    EXPIRY = "9 expiry"
    HISTORY = "10 history"
    PERSIST = "11 persist"
    REFRESH = "12 refresh"
    REPOSITORY = "13 repository"
    LISTED = "14 listed"
    DIGEST = "15 digest"
    SLOT = "16 slot"
    REQUIRES = "17 requires"
    MANIFEST = "18 manifest"


@contextmanager
def refusing(step: Step) -> Iterator[None]:
    """Turn python-tuf's refusals into a TrustError of this step; other errors pass."""
    try:
        yield
    except (RepositoryError, DownloadError) as error:
        raise TrustError(step, str(error)) from error
