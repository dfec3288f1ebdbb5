"""The JSON schema of a rollout file, for editors and pipelines. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sealane_manager.rollout_file.fields import FIELDS, FORM, most

if TYPE_CHECKING:
    from sealane_manager.rollout_file.fields import Field


def schema() -> dict[str, Any]:
    """What a rollout file may hold (JSON Schema, draft 2020-12)."""
    root = _object()
    for path, field in FIELDS.items():
        *groups, last = path.split(".")
        at = root
        for group in groups:
            at = at["properties"].setdefault(group, _object())
        at["properties"][last] = _described(path, field)
        if field.default is None:
            at.setdefault("required", []).append(last)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Sealane {FORM}",
        **root,
    }


def _object() -> dict[str, Any]:
    return {"type": "object", "properties": {}, "additionalProperties": False}


def _described(path: str, field: Field) -> dict[str, Any]:
    found: dict[str, Any] = {"description": field.about, **field.value.schema}
    if field.many:
        found = {
            "description": field.about,
            "type": "array",
            "items": dict(field.value.schema),
            "maxItems": most(path),
        }
    if isinstance(field.default, tuple):
        found["default"] = [field.value.plain(each) for each in field.default]
    elif field.default:
        found["default"] = field.value.plain(field.default)
    return found
