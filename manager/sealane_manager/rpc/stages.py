"""How stages are written: `1` is a count of devices, `40%` a share of them."""

from __future__ import annotations

import re

from sealane.errors import InvalidName

from sealane_manager.rollout.types import Stage

_STAGE = re.compile(r"([1-9][0-9]{0,6})(%?)")
_ALL = 100


def parse_stage(text: str) -> Stage:
    """Return the stage, or raise InvalidName."""
    found = _STAGE.fullmatch(text)
    if not found:
        raise InvalidName(f"{text[:40]!r} is not a stage", hint="write 5 for devices or 40%")
    number = int(found[1])
    if not found[2]:
        return Stage(count=number)
    if number > _ALL:
        raise InvalidName(f"a stage cannot hold {text} of the devices", hint="write at most 100%")
    return Stage(percent=number)


def parse_stages(text: str) -> tuple[Stage, ...]:
    """Stages as one comma-separated text; raises InvalidName."""
    return tuple(parse_stage(part.strip()) for part in text.split(","))


def stage_text(stage: Stage) -> str:
    """The stage as people write it."""
    return f"{stage.percent}%" if stage.percent is not None else str(stage.count)
