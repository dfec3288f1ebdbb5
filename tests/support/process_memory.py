"""What the kernel counts of a process's memory; loads no library."""

from __future__ import annotations

from pathlib import Path


def counted_bytes(pid: int, what: str) -> int:
    """One sum over its mappings, by the kernel's name: `Pss` divides shared pages among all.

    Raises OSError when the process is gone, StopIteration when the kernel has no such sum.
    """
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(f"{what}:")).split()[1]) * 1024
