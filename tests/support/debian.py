"""Programs of Debian that tests run: with SEALANE_DEBIAN=required (CI), a missing one fails."""

from __future__ import annotations

import os
import shutil

import pytest


def needs(program: str) -> str:
    """The path of a program; skips the test where it is not installed and need not be."""
    found = shutil.which(program)
    if found:
        return found
    reason = f"{program} is not installed"
    if os.environ.get("SEALANE_DEBIAN") == "required":
        pytest.fail(reason)
    pytest.skip(reason)
