"""`scripts/demo`: the whole main job on this machine, on loopback, in a temporary folder."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from demo_story.story import Story


def _interrupted(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Run the story; 0 when everything went as it should."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument(
        "--keep",
        action="store_true",
        help="leave manager, devices and traffic running until Ctrl-C",
    )
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupted)
    folder = Path(tempfile.mkdtemp(prefix="sealane-demo-"))
    story = Story(folder)
    try:
        complaints = story.run()
        if arguments.keep:
            story.keep()
    except KeyboardInterrupt:
        return 130
    finally:
        story.stop()
        shutil.rmtree(folder, ignore_errors=True)
    for complaint in complaints:
        print(f"not as it should be: {complaint}", file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
