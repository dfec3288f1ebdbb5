"""Which tests passed in one run, for another that shall not run them again.

Names of tests pass on, not those of files: what the first run skipped, could not import or did not
know is not left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def note(file: Path, reports: Iterable[Any]) -> None:
    """Write the names of the tests that passed, one a line."""
    names = (report.nodeid for report in reports if report.when == "call" and report.passed)
    file.write_text("".join(f"{name}\n" for name in sorted(names)))


def noted(file: Path) -> frozenset[str]:
    """The names in a file; none when that run did not pass, so that there is no file."""
    return frozenset(file.read_text().splitlines()) if file.exists() else frozenset()
