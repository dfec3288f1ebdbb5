"""The power of a real file system is cut only when it is asked for: `scripts/test-powercut`."""

from __future__ import annotations

import os
from typing import Final

import pytest
from support.power import missing

ASKED: Final = "SEALANE_POWERCUT"
REQUIRED: Final = "SEALANE_MUST_BOOT"

if not os.environ.get(ASKED):
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session", autouse=True)
def capable() -> None:
    """In continuous integration a missing capability is a failure, elsewhere a reason to skip."""
    if reason := missing():
        if os.environ.get(REQUIRED):
            pytest.fail(f"this machine cannot cut the power of a file system: {reason}")
        pytest.skip(f"this machine cannot cut the power of a file system: {reason}")
