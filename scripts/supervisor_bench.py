"""Measures a real supervisor that holds a session and keeps an endpoint; prints its memory.

PSS shares each page among the processes that map it: beside an endpoint (as on every device) it is
what the supervisor costs. Anonymous memory is its own whatever runs beside it. Exits with 1 when
the supervisor has loaded an engine or numpy.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from support.manager import running_manager

FORBIDDEN = ("numpy", "onnxruntime", "openvino", "uvloop", "httptools")
AGENT = (sys.executable, "-m", "sealane_agent.cli.main")
SETTLE_S = 6.0


def main() -> int:
    """Measure and print; 1 when something is loaded that must not be."""
    with tempfile.TemporaryDirectory() as folder, running_manager(Path(folder) / "m") as manager:
        state, token = Path(folder) / "device", manager.token().encode()
        subprocess.run((*AGENT, "enroll", "--state", state, "--token", token), check=True)
        run = (*AGENT, "run", "--state", str(state), "--rest", "127.0.0.1:0", "--grpc")
        with subprocess.Popen((*run, "127.0.0.1:0"), stderr=subprocess.DEVNULL) as supervisor:
            time.sleep(SETTLE_S)
            memory, found = _memory(supervisor.pid), _mapped(supervisor.pid)
            supervisor.terminate()
    for name, size in memory.items():
        print(f"{name:<10} {size / 1024:6.1f} MB")
    found |= _imported()
    print(f"loaded     {', '.join(sorted(found)) or 'no engine, no numpy, no request path'}")
    return 1 if found else 0


def _memory(pid: int) -> dict[str, int]:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    fields = {name: int(rest.split()[0]) for name, _, rest in (x.partition(":") for x in lines)}
    return {"PSS": fields["Pss"], "anonymous": fields["Anonymous"], "RSS": fields["Rss"]}


def _mapped(pid: int) -> set[str]:
    maps = Path(f"/proc/{pid}/maps").read_text()
    return {name for name in FORBIDDEN if f"/{name}/" in maps}


def _imported() -> set[str]:
    """What importing all of the supervisor brings with it."""
    code = "import sys, sealane_agent.app, sealane_agent.cli.run; print(*sys.modules)"
    done = subprocess.run((sys.executable, "-c", code), check=True, capture_output=True, text=True)
    return {name for name in FORBIDDEN if name in done.stdout.split()}


if __name__ == "__main__":
    sys.exit(main())
