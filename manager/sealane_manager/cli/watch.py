"""How a rollout is followed: a live picture in a terminal, one line a change elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sealane_manager.cli.table import word
from sealane_manager.errors import Unreachable
from sealane_manager.rollout.types import IN_FLIGHT, LOST, DeviceState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sealane_manager.views import DecisionView, RolloutDeviceView, RolloutView

RETRIES: Final = 60
RETRY_S: Final = 1.0
_SHOWN_DECISIONS: Final = 5
SHOWN_DEVICES: Final = 100
"""Rows of a picture: of a larger rollout those that need a look."""


def lasting(
    watch: Callable[[], Iterable[RolloutView]], wait: Callable[[float], None]
) -> Iterator[RolloutView]:
    """Watch on when the manager was restarted meanwhile; raises Unreachable when it stays away."""
    tries = 0
    while True:
        try:
            for rollout in watch():
                tries = RETRIES
                yield rollout
        except Unreachable:
            if not tries:
                raise
            tries -= 1
            wait(RETRY_S)
        else:
            return


def follow_lines(changes: Iterable[RolloutView]) -> RolloutView | None:
    """Print one line for each new decision or state; returns the last change."""
    last = None
    for rollout in changes:
        for line in new_lines(last, rollout):
            typer.echo(word(line))
        last = rollout
    return last


def new_lines(before: RolloutView | None, now: RolloutView) -> list[str]:
    """What is new since `before`: decisions, devices that moved, and a new state, stage or phase.

    A device whose move a decision already tells is not told again.
    """
    decisions = now.decisions[len(before.decisions) if before else 0 :]
    lines = [_decision_line(decision) for decision in decisions]
    told = {decision.actor for decision in decisions}
    states = {device.device: device.state for device in before.devices} if before else {}
    moved = [
        device
        for device in now.devices
        if device.state not in (states.get(device.device, DeviceState.WAITING), DeviceState.SKIPPED)
    ]
    lines += [_device_line(device) for device in moved if f"device {device.name}" not in told]
    if before is None or _position(before) != _position(now):
        lines.append(standing(now))
    return lines


def _position(rollout: RolloutView) -> tuple[str, int, str]:
    return rollout.state, rollout.stage, rollout.phase


def _device_line(device: RolloutDeviceView) -> str:
    return f"device {device.name}: {device.state} {device.detail}".rstrip()


def standing(rollout: RolloutView) -> str:
    """Where a rollout stands, in one line."""
    counted = ", ".join(f"{count} {state}" for state, count in sorted(rollout.counts.items()))
    stage = f"stage {rollout.stage + 1} of {len(rollout.stages)} ({rollout.phase})"
    why = f": {rollout.reason}" if rollout.reason else ""
    return f"{rollout.release} {rollout.state}, {stage}, {counted or 'no device'}{why}"


def _decision_line(decision: DecisionView) -> str:
    return f"{decision.actor}: {decision.action} {decision.detail}".rstrip()


def follow(changes: Iterable[RolloutView]) -> RolloutView | None:
    """Draw the rollout in place; returns the last change."""
    last = None
    with Live(console=Console(highlight=False), auto_refresh=False) as live:
        for rollout in changes:
            live.update(picture(rollout), refresh=True)
            last = rollout
    return last


def picture(rollout: RolloutView) -> Group:
    """The rollout as a terminal shows it: where it stands, devices, the last decisions."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("DEVICE", "STAGE", "STATE", "REQUESTS", "DETAIL"):
        table.add_column(column, overflow="fold")
    shown = foremost(rollout.devices, SHOWN_DEVICES)
    for device in shown:
        style = _style(device.state)
        table.add_row(
            *(device.name, str(device.stage + 1), Text(device.state, style)),
            *(str(device.requests), Text(word(device.detail))),
        )
    recent = (word(_decision_line(each)) for each in rollout.decisions[-_SHOWN_DECISIONS:])
    more = f"and {len(rollout.devices) - len(shown)} more" if shown != rollout.devices else ""
    log = Text("\n".join(recent), "dim")
    return Group(Text(word(standing(rollout)), "bold"), "", table, more, log)


def foremost(devices: Sequence[RolloutDeviceView], most: int) -> tuple[RolloutDeviceView, ...]:
    """So many devices at most, in their order: first of all those that need a look, or move."""
    if len(devices) <= most:
        return tuple(devices)
    ranked = sorted(range(len(devices)), key=lambda place: _rank(devices[place].state))
    return tuple(devices[place] for place in sorted(ranked[:most]))


def _rank(state: DeviceState) -> int:
    if state in LOST:
        return 0
    return 1 if state in IN_FLIGHT else 2


def _style(state: DeviceState) -> str:
    if state in LOST:
        return "red"
    return "green" if state is DeviceState.SERVING else ""
