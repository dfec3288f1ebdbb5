"""Decides whether two answers of a slot's releases say the same. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sealane.bundle.agreement import EXACTLY, agrees, rule_for
from sealane.bundle.elements import array_of, comparable

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sealane.bundle.types import Deployment

    from sealane_agent.serving.types import Answer, Tensor


def says_the_same(got: Answer, want: Answer, deployment: Deployment, variant: str) -> bool:
    """Whether `got`, by the new release's rules, agrees with what the release before answered."""
    if [tensor[:3] for tensor in got] != [tensor[:3] for tensor in want]:
        return False
    chosen = next(each for each in deployment.variants if each.name == variant)
    rules = {spec.name: rule_for(spec, deployment, chosen) for spec in deployment.outputs}
    return all(
        agrees(_array(ours), _array(theirs), rules.get(ours.name, EXACTLY))
        for ours, theirs in zip(got, want, strict=True)
    )


def _array(tensor: Tensor) -> NDArray[Any]:
    array = array_of(tensor.data, tensor.datatype, tensor.shape)
    return comparable(array, tensor.datatype)
