"""Writes what a rollout asks for as a file that asks for the same. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from sealane_manager.rollout_file.fields import FIELDS
from sealane_manager.rollout_file.writing import written

if TYPE_CHECKING:
    from sealane_manager.rollout_file.fields import Field
    from sealane_manager.rollout_file.reading import RolloutFile


def text(asked: RolloutFile) -> str:
    """The file: what must be said, and whatever is not the default."""
    root: dict[str, Any] = {}
    for path, value in written(asked).items():
        field = FIELDS[path]
        if value != field.default:
            _put(root, path, _plain(field, value))
    return yaml.safe_dump(root, sort_keys=False, allow_unicode=True, width=100)


def _plain(field: Field, value: str | tuple[str, ...]) -> Any:
    if isinstance(value, tuple):
        return [field.value.plain(each) for each in value]
    return field.value.plain(value)


def _put(root: dict[str, Any], path: str, value: Any) -> None:
    *groups, last = path.split(".")
    for group in groups:
        root = root.setdefault(group, {})
    root[last] = value
