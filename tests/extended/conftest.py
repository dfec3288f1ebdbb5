"""Tests that take too long for every change run only when they are asked for: `.ci/extended`."""

from __future__ import annotations

import os

if not os.environ.get("SEALANE_EXTENDED"):
    collect_ignore_glob = ["test_*.py"]
