"""Decides whether two releases give one answer to one request: the rules of agreement.

Each output has a rule: the bundle's own, or what its kind suggests. Values are compared row by row;
an answer agrees when all of its rows do. NaN agrees with nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sealane.bundle.golden import largest_deviation
from sealane.bundle.types import Agreement, DataType, Rule, Tolerance

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from sealane.bundle.types import Deployment, TensorSpec, Variant

    Array = NDArray[Any]
    Floats = NDArray[np.float64]

EXACTLY: Final = Agreement(Rule.EXACT)
FIRST_CLASS: Final = Agreement(Rule.TOP_K)

BOX: Final = 4
"""Numbers of a box: left, top, right, bottom."""

BOXES: Final = 1000
"""Boxes of one row that are matched: more say nothing about a picture."""

_FLOATS: Final = frozenset({DataType.FP16, DataType.BF16, DataType.FP32, DataType.FP64})
_ROWS_OF_CLASSES: Final = 2


def rule_for(spec: TensorSpec, deployment: Deployment, variant: Variant) -> Agreement:
    """The bundle's rule for an output; else the first class, or the tolerance, or equality."""
    given = deployment.agreement.get(spec.name)
    if given is not None:
        return given
    if spec.datatype not in _FLOATS:
        return EXACTLY
    if len(spec.shape) == _ROWS_OF_CLASSES and spec.shape[1] > 1:
        return FIRST_CLASS
    tolerance = variant.tolerance.get(spec.name, Tolerance(0, 0))
    return Agreement(Rule.CLOSE, atol=tolerance.atol, rtol=tolerance.rtol)


def agrees(got: Array, want: Array, rule: Agreement) -> bool:
    """Whether one output of the new release says what that of the release before says.

    Another shape or datatype never agrees.
    """
    if got.shape != want.shape or got.dtype != want.dtype:
        return False
    return _RULES[rule.rule](got, want, rule)


def _close(got: Array, want: Array, rule: Agreement) -> bool:
    return largest_deviation(got, want, Tolerance(rule.atol, rule.rtol))[0]


def _exact(got: Array, want: Array, _: Agreement) -> bool:
    return bool(np.array_equal(got, want))


def _cosine(got: Array, want: Array, rule: Agreement) -> bool:
    ours, theirs = _rows(got), _rows(want)
    with np.errstate(all="ignore"):
        lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
        similar = (ours * theirs).sum(axis=1) / lengths
    both_nothing = (ours == 0).all(axis=1) & (theirs == 0).all(axis=1)
    return bool(((similar >= rule.least) | both_nothing).all())


def _top_k(got: Array, want: Array, rule: Agreement) -> bool:
    """The same k classes in any order; where the k-th is too close to the next, either will do."""
    ours, theirs = _rows(got), _rows(want)
    if np.isnan(ours).any() or np.isnan(theirs).any():
        return False
    if ours.shape[1] <= rule.k:
        return True
    best = np.sort(theirs, axis=1)
    near = best[:, -rule.k] - best[:, -rule.k - 1] < rule.margin
    same = (_highest(ours, rule.k) == _highest(theirs, rule.k)).all(axis=1)
    return bool((same | near).all())


def _highest(rows: Floats, k: int) -> NDArray[np.intp]:
    """The places of the k largest in each row, in order of place; of equals, the first."""
    chosen: NDArray[np.intp] = np.sort(np.argsort(-rows, axis=1, kind="stable")[:, :k], axis=1)
    return chosen


def _overlap(got: Array, want: Array, rule: Agreement) -> bool:
    if got.ndim < 2 or got.shape[-1] < BOX:  # noqa: PLR2004 - boxes lie in rows
        return False
    pairs = zip(_boxes(got), _boxes(want), strict=True)
    return all(_match(ours, theirs, rule.least) for ours, theirs in pairs)


def _boxes(content: Array) -> list[Floats]:
    """The boxes of each row; those without an area fill the rest of a fixed size."""
    rows = content.astype(np.float64).reshape(-1, *content.shape[-2:])
    return [row[(row[:, 2] > row[:, 0]) & (row[:, 3] > row[:, 1])][:, :BOX] for row in rows]


def _match(ours: Floats, theirs: Floats, least: float) -> bool:
    """Whether each box has a partner of its own that it covers enough; the best pairs first."""
    if len(ours) != len(theirs) or len(ours) > BOXES:
        return False
    left = _covered(ours, theirs)
    for _ in range(len(ours)):
        row, column = np.unravel_index(int(left.argmax()), left.shape)
        if left[row, column] < least:
            return False
        left[row, :], left[:, column] = -1.0, -1.0
    return True


def _covered(ours: Floats, theirs: Floats) -> Floats:
    """Common area over joint area, of every pair."""
    low = np.maximum(ours[:, None, :2], theirs[None, :, :2])
    high = np.minimum(ours[:, None, 2:], theirs[None, :, 2:])
    common = np.clip(high - low, 0.0, None).prod(axis=2)
    areas = (ours[:, 2:] - ours[:, :2]).prod(axis=1)[:, None]
    others = (theirs[:, 2:] - theirs[:, :2]).prod(axis=1)[None, :]
    shares: Floats = common / (areas + others - common)
    return shares


def _rows(content: Array) -> Floats:
    return content.astype(np.float64).reshape(content.shape[0] if content.ndim > 1 else 1, -1)


_RULES: Final[Mapping[Rule, Callable[[Array, Array, Agreement], bool]]] = {
    Rule.CLOSE: _close,
    Rule.EXACT: _exact,
    Rule.COSINE: _cosine,
    Rule.TOP_K: _top_k,
    Rule.OVERLAP: _overlap,
}
