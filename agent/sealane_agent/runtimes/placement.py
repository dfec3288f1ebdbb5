"""Decides whether a model lies where its variant says. Pure.

An engine that was given an accelerator may leave parts of the model, or all of it, on the
processor, and say so to nobody. A graph's own arithmetic on shapes belongs there: the sizes are
needed by the processor, and engines put it there on purpose. Whatever computes does not.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    Placed = tuple[str, str]
    """Where a node lies, and what it does."""

ON_SHAPES: Final = frozenset(
    {
        *("Shape", "Size", "Constant", "ConstantOfShape", "Range", "Identity", "Cast"),
        *("Gather", "Slice", "Concat", "Split", "Squeeze", "Unsqueeze", "Reshape", "Expand"),
        *("Add", "Sub", "Mul", "Div", "Mod", "Min", "Max", "Floor", "Ceil", "ReduceProd"),
        *("Equal", "Less", "Greater", "Not", "And", "Or", "Where", "NonZero", "If", "Loop"),
    }
)
"""What a graph does with sizes: small, and as well on the processor as anywhere."""

_NAMED: Final = 3


def misplaced(nodes: Iterable[Placed], wanted: str) -> str:
    """What lies elsewhere than `wanted` although it computes, as a phrase; empty when all is well.

    No node at all where it is wanted is a misplaced model, however little is left elsewhere.
    """
    placed = tuple(nodes)
    elsewhere = Counter(does for where, does in placed if where != wanted and does not in ON_SHAPES)
    if elsewhere:
        named = ", ".join(f"{does} ({count})" for does, count in elsewhere.most_common(_NAMED))
        more = len(elsewhere) - _NAMED
        return f"{named} and {more} more" if more > 0 else named
    return "" if any(where == wanted for where, _ in placed) else "the whole model"
