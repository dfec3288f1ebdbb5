"""What a version of the agent says of itself: agent.json in its bundle, the contract. Pure.

The payload is the folder that a package lays side by side with other versions: `bin/python3`, a
link to the machine's interpreter, and `lib/pythonX.Y/site-packages`. It runs wherever it lies.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from sealane.bundle.jsonform import dump, load
from sealane.bundle.manifest import (
    AGENT_ARTIFACT,
    AGENT_CONTRACT_PATH,
    AGENT_TREE_PATH,
    layer_at,
)
from sealane.errors import BundleError
from sealane.limits import GIB, KIB

if TYPE_CHECKING:
    from sealane.bundle.types import Layer, Manifest

AGENT_CONTRACT_BYTES: Final = 16 * KIB
AGENT_TREE_BYTES: Final = 2 * GIB
"""A version unpacked: engines are large."""

AGENT_TREE_FILES: Final = 50_000

PROBATION_MAX_S: Final = 3600.0
"""How long a version may ask to be watched before it is kept."""

TREE_PATH_CHARS: Final = 240
TREE_PATH_SEGMENTS: Final = 24

_SEGMENT: Final = re.compile(r"\.?[A-Za-z0-9_](?:[A-Za-z0-9_.+@~-]{0,150}[A-Za-z0-9_+-])?")
_ROOT: Final = "lib"
_VERSION: Final = re.compile(r"\d{1,6}(?:\.\d{1,6}){0,3}(?:[-+.~a-z][-+.~a-z0-9]{0,40})?")
_PYTHON: Final = re.compile(r"3\.\d{1,3}")
_WORD: Final = re.compile(r"[a-z0-9_]{1,32}")


@dataclass(frozen=True, slots=True)
class AgentContract:
    """What a version is and where it runs.

    Attributes:
        version: as `sealane-agent` says it itself.
        arch, os: as the kernel says them, `x86_64` and `linux`.
        python: the interpreter that it needs, as `3.11`.
        unpacked_bytes: what its files take.
        probation_s: how long it must be well, in session with its manager, before it is kept.
    """

    version: str
    arch: str
    os: str
    python: str
    unpacked_bytes: int
    probation_s: float

    def encode(self) -> bytes:
        """JSON."""
        return dump({"format": 1, **asdict(self)})


def parse_contract(content: bytes) -> AgentContract:
    """Read agent.json, or raise BundleError."""
    found = load(content, AGENT_CONTRACT_BYTES, AGENT_CONTRACT_PATH)
    found.integer("format", 1, 1)
    contract = AgentContract(
        version=found.text("version"),
        arch=found.text("arch"),
        os=found.text("os"),
        python=found.text("python"),
        unpacked_bytes=found.integer("unpacked_bytes", 0, AGENT_TREE_BYTES),
        probation_s=found.number("probation_s", 0, PROBATION_MAX_S),
    )
    for text, grammar in (
        (contract.version, _VERSION),
        (contract.arch, _WORD),
        (contract.os, _WORD),
        (contract.python, _PYTHON),
    ):
        if not grammar.fullmatch(text):
            raise BundleError(f"{AGENT_CONTRACT_PATH} says {text[:40]!r}, which is malformed")
    return contract


def check_tree_path(path: str) -> str:
    """A file's path in a version, or BundleError: everything lies below `lib`."""
    segments = path.split("/")
    if (
        len(path) > TREE_PATH_CHARS
        or len(segments) > TREE_PATH_SEGMENTS
        or segments[0] != _ROOT
        or not all(_SEGMENT.fullmatch(segment) for segment in segments)
    ):
        raise BundleError(f"{path[:80]!r} is no path of a version of the agent")
    return path


def tree_of(manifest: Manifest) -> Layer:
    """The archive of a version, or BundleError."""
    if manifest.artifact != AGENT_ARTIFACT:
        raise BundleError("the bundle is no version of the agent")
    return layer_at(manifest, AGENT_TREE_PATH)


def order_of(version: str) -> tuple[int, ...]:
    """What versions are compared by: their numbers; what follows them does not count."""
    numbers = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(each) for each in numbers[0].split(".")) if numbers else ()
