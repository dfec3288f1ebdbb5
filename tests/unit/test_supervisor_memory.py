"""What a supervisor must not load, because every device would pay for it."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_the_supervisor_loads_no_http_client_and_no_email() -> None:
    program = "import sys, sealane_agent.app; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = set(done.stdout.split())
    assert "tuf.ngclient.updater" in loaded
    assert not loaded & {"urllib3", "http.client", "http.cookies", "requests"}
