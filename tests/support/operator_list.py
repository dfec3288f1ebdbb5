"""The operator tests that are not served, with the reason: read, compared, and written anew.

    PYTHONPATH=tests python -m support.operator_list

writes `tests/conformance/onnx_unsupported.txt` from a run of all of them.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from sealane.errors import BundleError
from sealane_agent.runtimes.base import InferenceFailed, ModelRefused
from support.operators import NotServable, all_cases, serve, wrapped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FILE: Final = Path(__file__).parents[1] / "conformance" / "onnx_unsupported.txt"
RUNTIMES: Final = ("onnxruntime", "openvino")
_UNKNOWN: Final = ("NOT_IMPLEMENTED", "No conversion rule", "not a registered")


def reason_of(error: Exception) -> str:
    """Why a case is not served, in few words that a new engine's version does not change."""
    if isinstance(error, NotServable):
        return str(error)
    if isinstance(error, BundleError):
        return "a tensor without elements cannot be served"
    if isinstance(error, ModelRefused | InferenceFailed):
        unknown = any(word in str(error) for word in _UNKNOWN)
        return "the engine does not have it" if unknown else "the engine refuses it"
    return "the engine answers otherwise"


def unserved(tests: Sequence[Any], runtime: str, folder: Path) -> dict[str, str]:
    """Serve each of these; why those failed that did."""

    async def within() -> dict[str, str]:
        found = {}
        for number, test in enumerate(tests):
            try:
                await serve(wrapped(test), runtime, folder / str(number))
            except Exception as error:  # noqa: BLE001 - whatever it is has a reason
                found[test.name] = reason_of(error)
        return found

    return asyncio.run(within())


def listed() -> Mapping[str, Mapping[str, str]]:
    """By runtime: the cases that are known not to be served, and why."""
    found: dict[str, dict[str, str]] = {runtime: {} for runtime in RUNTIMES}
    for line in FILE.read_text().splitlines():
        if not line.startswith("#"):
            runtime, case, reason = line.split("\t")
            found[runtime][case] = reason
    return found


def main() -> None:
    """Run all, and write the list."""
    lines = ["# Operator tests of the ONNX project that are not served: runtime, case, reason."]
    for runtime in RUNTIMES:
        with TemporaryDirectory() as folder:
            found = unserved(all_cases(), runtime, Path(folder))
        lines += [f"{runtime}\t{case}\t{reason}" for case, reason in sorted(found.items())]
    FILE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
