"""Reads the parameters of requests, inputs and outputs: the same for both doors. Pure.

Unknown parameters are the client's own and are left alone; only names that the protocol keeps for
itself (`triton_…`) must be known. What is wrong raises InvalidInference.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from sealane_agent.serving.types import USUAL, InvalidInference, NotSupported, Terms

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

CLASSES: Final = 1000
"""Classes of one row that can be asked for."""

LONGEST_US: Final = 3_600_000_000
"""Longest time that a request may give itself: an hour."""

PRIORITIES: Final = 2**31
"""Above this a priority is a slip."""

_KEPT: Final = "triton_"
_KNOWN: Final = frozenset({"triton_enable_empty_final_response"})
_UNUSED: Final = frozenset({"cuda_shared_memory_region"})


class Source(Protocol):
    """Where bytes of a tensor lie outside the request."""

    def read(self, offset: int, size: int) -> bytes | memoryview:
        """Some of them; raises InvalidInference."""
        ...


class Place(NamedTuple):
    """Part of a registered region."""

    region: str
    offset: int
    size: int


class Wanted(NamedTuple):
    """Parameters of a whole request; 0 where it says nothing."""

    timeout_us: int = 0
    priority: int = 0
    binary: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Wish:
    """In which form a request wants its outputs; of repeated requests one and the same.

    Attributes:
        binary, binary_default: by output, and for the others, whether as bytes behind the JSON.
        classes: by output, how many of the largest values are wanted instead of all.
        places: by output, the region that it is to be written into.
    """

    binary: Mapping[str, bool] = field(default_factory=dict)
    binary_default: bool = True
    classes: Mapping[str, int] = field(default_factory=dict)
    places: Mapping[str, Place] = field(default_factory=dict)

    @property
    def plain(self) -> bool:
        """Whether outputs go as the model gives them."""
        return not (self.classes or self.places)


PLAIN: Final = Wish()


def read_request(parameters: Mapping[str, Any]) -> Wanted:
    """What a whole request asks for."""
    for name in parameters:
        if name.startswith(_KEPT) and name not in _KNOWN:
            raise InvalidInference(f"parameter {name[:80]!r} is kept for the protocol")
    return Wanted(
        whole(parameters, "timeout", LONGEST_US),
        whole(parameters, "priority", PRIORITIES),
        parameters.get("binary_data_output") is True,
    )


def terms_of(wanted: Wanted, now_s: float, deadline_s: float = inf) -> Terms:
    """How soon the answer is wanted, asked now; `deadline_s` is the protocol's own."""
    if not (wanted.timeout_us or wanted.priority) and deadline_s == inf:
        return USUAL
    own = now_s + wanted.timeout_us / 1e6 if wanted.timeout_us else inf
    return Terms(min(own, deadline_s), wanted.priority or USUAL.priority)


def read_place(parameters: Mapping[str, Any]) -> Place | None:
    """The shared memory that a tensor names."""
    if parameters.keys() & _UNUSED:
        raise NotSupported("there is no shared memory of GPUs here")
    region = parameters.get("shared_memory_region")
    if region is None:
        return None
    if not isinstance(region, str) or "shared_memory_byte_size" not in parameters:
        raise InvalidInference("a region is named by text, and comes with shared_memory_byte_size")
    offset = whole(parameters, "shared_memory_offset", 2**63)
    return Place(region, offset, whole(parameters, "shared_memory_byte_size", 2**63))


def read_outputs(outputs: Mapping[str, Mapping[str, Any]], *, binary: bool) -> Wish:
    """The form of each output, by its parameters; `binary` for those that say nothing."""
    if not any(outputs.values()):
        return PLAIN if binary else JSON
    places = {name: read_place(parameters) for name, parameters in outputs.items()}
    return Wish(
        {
            name: parameters["binary_data"] is True
            for name, parameters in outputs.items()
            if "binary_data" in parameters
        },
        binary,
        {
            name: count
            for name, parameters in outputs.items()
            if (count := whole(parameters, "classification", CLASSES))
        },
        {name: place for name, place in places.items() if place is not None},
    )


JSON: Final = Wish(binary_default=False)
"""What a REST request wants that says nothing."""


def whole(parameters: Mapping[str, Any], name: str, most: int) -> int:
    """A whole number from 0; 0 when there is none."""
    value = parameters.get(name, 0)
    if type(value) is not int or not 0 <= value <= most:
        raise InvalidInference(f"parameter {name!r} is a whole number from 0 to {most}")
    return value
