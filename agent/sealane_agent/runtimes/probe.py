"""`python -m sealane_agent.runtimes.probe NAME`: what an engine can, as one line of JSON.

In a process of its own, so that whoever asks stays small, and outlives an engine that crashes.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from sealane_agent.runtimes.registry import find_runtime

if TYPE_CHECKING:
    from typing import Any


def main() -> int:
    """Ask the engine that is named."""
    runtime: Any = find_runtime(sys.argv[1])
    opset, ir_version = getattr(runtime, "understands", lambda: (0, 0))()
    found = {
        "accelerators": list(runtime.accelerators()),
        "opset": opset,
        "ir_version": ir_version,
    }
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
