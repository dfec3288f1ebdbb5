"""`python -m sealane_agent.runtimes.probe NAME ACCELERATOR`: what an engine can, a line of JSON.

In a process of its own, so that whoever asks stays small, and outlives an engine that crashes.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from sealane.bundle.deployment import ACCELERATORS

from sealane_agent.runtimes.base import obstacle
from sealane_agent.runtimes.packs import put_first
from sealane_agent.runtimes.registry import find_runtime

if TYPE_CHECKING:
    from typing import Any


def main() -> int:
    """Ask the engine that variants of this runtime for this accelerator use."""
    name, accelerator = sys.argv[1:]
    put_first(name, accelerator)
    runtime: Any = find_runtime(name)
    why = {each: obstacle(runtime, each) for each in ACCELERATORS}
    opset, ir_version = getattr(runtime, "understands", lambda: (0, 0))()
    found = {
        "accelerators": [each for each in ACCELERATORS if why[each] is None],
        "missing": [[each, str(said), said.hint] for each, said in why.items() if said],
        "opset": opset,
        "ir_version": ir_version,
    }
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
