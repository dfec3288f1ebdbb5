"""What a device spends on verification: requests, bytes and CPU of a check. Prints.

    .venv/bin/python tests/bench/verification_cost.py [checks]

The repository and the director are simulated in this process; signing is not counted.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from support.trust import FACTS, Scene

if TYPE_CHECKING:
    from sealane.trust.documents import SlotAssignment


def check(scene: Scene, slot: SlotAssignment) -> tuple[float, int, int]:
    """CPU seconds, requests and bytes of one check."""
    nonce = scene.verifier.new_nonce()
    document = scene.authority.direct([slot], nonce)
    proof = scene.authority.log.proof(scene.verifier.seen())
    scene.authority.asked.clear()
    began = time.process_time()
    assert scene.verifier.accept(document, nonce, FACTS, proof).approved
    spent = time.process_time() - began
    files = scene.authority.files
    fetched = sum(len(files.get(name, b"")) for name in scene.authority.asked)
    return spent, len(scene.authority.asked), fetched + len(document)


def told(what: str, checks: list[tuple[float, int, int]]) -> None:
    spent = median(seconds for seconds, _, _ in checks) * 1e3
    requests = max(count for _, count, _ in checks)
    size = max(fetched for _, _, fetched in checks)
    sys.stdout.write(f"{what:34} {spent:8.1f} ms  {requests:8}  {size:8} B\n")


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    sys.stdout.write(f"{'check (median, most)':34} {'CPU':>11}  requests  received\n")
    with TemporaryDirectory() as folder:
        scene = Scene(Path(folder) / "trust")
        slot = scene.authority.approve("digits/classifier@1")
        told("first of all", [check(scene, slot)])
        told("nothing changed", [check(scene, slot) for _ in range(count)])
        changed = []
        for number in range(count):
            slot = scene.authority.approve(f"digits/classifier@{number + 2}")
            scene.authority.log.add(b"published")
            changed.append(check(scene, slot))
        told("a release and an entry are new", changed)
        scene.restarted()
        told("after a restart of the agent", [check(scene, slot)])


if __name__ == "__main__":
    main()
