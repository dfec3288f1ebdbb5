"""What a supervisor must not load, because every device would pay for it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from pathlib import Path

UNCALLED: Final = {
    *("urllib3", "http.client", "http.cookies", "requests"),  # metadata comes by gRPC
    *("pkcs11", "asn1crypto", "decimal"),  # it verifies; its own key may be in a token, then yes
    *("ssl", "_ssl"),  # TLS is gRPC's
    *("numpy", "onnxruntime", "openvino", "uvloop", "httptools"),  # the endpoint's and the workers'
    *("importlib.metadata", "email.message", "tarfile", "zipfile", "uuid", "platform"),
    *("sealane_agent.cli.enroll", "sealane_agent.cli.doctor", "sealane_agent.overview"),
}


def loaded_by(program: str) -> set[str]:
    """The modules of a process that ran this program, which prints nothing else."""
    code = f"import sys\n{program}\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return set(done.stdout.split())


@pytest.mark.slow
def test_a_supervisor_loads_nothing_that_it_never_calls(tmp_path: Path) -> None:
    words = ["run", "--state", str(tmp_path)]  # no device yet: it loads all, and ends
    loaded = loaded_by(f"from sealane_agent.cli.main import main\nassert main({words}) == 1")
    assert {"tuf.ngclient.updater", "sealane_agent.app", "grpc.aio"} <= loaded
    assert not loaded & UNCALLED


@pytest.mark.slow
def test_what_a_supervisor_is_spared_can_be_imported_once_somebody_needs_it() -> None:
    program = "from sealane_agent.spared import spared\nwith spared(): import sealane_agent.app"
    assert "ssl" in loaded_by(f"{program}\nimport ssl")
