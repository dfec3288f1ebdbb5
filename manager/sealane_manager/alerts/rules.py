"""The rules: what is wrong with the fleet now, from one look at it.

Each rule says how long it must hold before anybody is told, and which other rules it explains: of
a site that is away as a whole, one alert tells, not one a device.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sealane.failure import FailureKind

from sealane_manager.alerts.types import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from sealane_manager.alerts.types import DeviceHealth, Health, SlotTrouble

MISSED_HEARTBEATS: Final = 3
RESTARTS: Final = 3
"""Workers that were started again within one window: a crash loop."""
DISK_USED: Final = 0.9
SKEW_S: Final = 30.0
CERTIFICATE_LEFT: Final = timedelta(hours=6)
"""A certificate lives for a day and is renewed half-way: with less left, renewing fails."""
BACKLOG_S: Final = 3600
STALLED: Final = timedelta(hours=24)
"""A phase of a rollout, beyond its soak."""
PAUSED: Final = timedelta(minutes=15)
SITE_DEVICES: Final = 2
"""Devices that a site needs before it can be away as a whole."""

_FAILED: Final = frozenset({"failed", "rolled_back", "quarantined"})
_MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        holds: how long it must be found before people are told.
        explains: rules whose findings at the same site say nothing more.
    """

    name: str
    severity: Severity
    holds: timedelta
    find: Callable[[Health], Iterator[tuple[str, str, str]]]
    explains: frozenset[str] = frozenset()


def findings(health: Health) -> tuple[Finding, ...]:
    """Everything that is wrong, whether it is told or not."""
    return tuple(
        Finding(rule.name, subject, site, rule.severity, text)
        for rule in RULES
        for subject, site, text in rule.find(health)
    )


def _is_silent(device: DeviceHealth, health: Health) -> bool:
    if device.reachable or device.last_seen is None:
        return False
    patience = timedelta(seconds=MISSED_HEARTBEATS * health.heartbeat_s)
    return health.now - device.last_seen > patience


def _site_silent(health: Health) -> Iterator[tuple[str, str, str]]:
    sites: dict[str, list[bool]] = defaultdict(list)
    for device in health.devices:
        if device.site and device.last_seen is not None:
            sites[device.site].append(_is_silent(device, health))
    for site, silent in sorted(sites.items()):
        if len(silent) >= SITE_DEVICES and all(silent):
            yield site, site, f"site {site} is away: none of its {len(silent)} devices answers"


def _silent(health: Health) -> Iterator[tuple[str, str, str]]:
    for device in health.devices:
        if _is_silent(device, health) and device.last_seen is not None:
            yield device.id, device.site, f"{device.id} is silent since {_at(device.last_seen)}"


def _crash_loop(health: Health) -> Iterator[tuple[str, str, str]]:
    for device in health.devices:
        restarts = device.latest.restarts if device.latest else None
        stuck = [trouble.slot for trouble in device.slots if trouble.state == "safe_mode"]
        if stuck:
            yield device.id, device.site, f"{device.id} is in safe mode in slot {stuck[0]}"
        elif restarts is not None and restarts >= RESTARTS:
            yield device.id, device.site, f"{device.id} started {restarts} workers again"


def _activation_failed(health: Health) -> Iterator[tuple[str, str, str]]:
    for device, trouble in _troubles(health):
        if trouble.state in _FAILED and not (_is_signature(trouble) or _is_damage(trouble)):
            why = trouble.failure.message if trouble.failure else trouble.state
            text = f"{device.id} does not serve {trouble.release} in {trouble.slot}: {why}"
            yield f"{device.id}/{trouble.slot}", device.site, text


def _degraded(health: Health) -> Iterator[tuple[str, str, str]]:
    for device, trouble in _troubles(health):
        if trouble.degraded:
            text = f"{device.id} is degraded in {trouble.slot}: {trouble.degraded}"
            yield f"{device.id}/{trouble.slot}", device.site, text


def _signature_refused(health: Health) -> Iterator[tuple[str, str, str]]:
    for device, trouble in _troubles(health):
        if _is_signature(trouble) and trouble.failure:
            text = f"{device.id} refused what it was told to run: {trouble.failure.message}"
            yield f"{device.id}/{trouble.slot}", device.site, text


def _hash_mismatch(health: Health) -> Iterator[tuple[str, str, str]]:
    for device, trouble in _troubles(health):
        if _is_damage(trouble) and trouble.failure:
            text = f"{device.id} got other bytes than were signed: {trouble.failure.message}"
            yield f"{device.id}/{trouble.slot}", device.site, text


def _disk(health: Health) -> Iterator[tuple[str, str, str]]:
    for device in health.devices:
        used = device.latest.disk if device.latest else None
        if used is not None and used > DISK_USED:
            yield device.id, device.site, f"the disk of {device.id} is {used:.0%} full"


def _clock_skew(health: Health) -> Iterator[tuple[str, str, str]]:
    for device in health.devices:
        ahead = device.latest.clock_offset if device.latest else None
        if ahead is not None and abs(ahead) > SKEW_S:
            word = "ahead" if ahead > 0 else "behind"
            yield device.id, device.site, f"the clock of {device.id} is {abs(ahead):.0f} s {word}"


def _certificate(health: Health) -> Iterator[tuple[str, str, str]]:
    for device in health.devices:
        ends = device.certificate_expires
        if ends is not None and ends - health.now < CERTIFICATE_LEFT:
            yield device.id, device.site, f"the certificate of {device.id} ends at {_at(ends)}"


def _telemetry_late(health: Health) -> Iterator[tuple[str, str, str]]:
    now = int(health.now.timestamp())
    for device in health.devices:
        latest = device.latest
        if device.reachable and latest and now - latest.start - latest.seconds > BACKLOG_S:
            hours = (now - latest.start) / 3600
            text = f"the newest telemetry of {device.id} is {hours:.0f} h old, and it is connected"
            yield device.id, device.site, text


def _telemetry_refused(health: Health) -> Iterator[tuple[str, str, str]]:
    for device in health.devices:
        if device.refused:
            text = f"telemetry of {device.id} cannot be read: {device.refused}"
            yield device.id, device.site, text


def _telemetry_lost(health: Health) -> Iterator[tuple[str, str, str]]:
    for device in health.devices:
        if device.lost:
            text = f"{device.id} could not keep {device.lost} windows of telemetry: see its disk"
            yield device.id, device.site, text


def _rollout_stalled(health: Health) -> Iterator[tuple[str, str, str]]:
    for rollout in health.rollouts:
        quiet = health.now - rollout.since
        if rollout.state == "paused" and quiet > PAUSED:
            text = f"rollout {rollout.id} of {rollout.release} waits: {rollout.reason or 'paused'}"
            yield rollout.id, "", text
        elif rollout.state != "paused" and quiet > STALLED + timedelta(seconds=rollout.soak_s):
            text = f"rollout {rollout.id} of {rollout.release} is in {rollout.phase} for a day"
            yield rollout.id, "", text


def _drift(health: Health) -> Iterator[tuple[str, str, str]]:
    for found in health.drifted:
        text = (
            f"{found.input} of {found.release} on {found.device} has drifted"
            f" (JS {found.distance:.2f}, points at: {found.cause})"
        )
        yield f"{found.device}/{found.release}/{found.input}", found.site, text


def _export_failed(health: Health) -> Iterator[tuple[str, str, str]]:
    for found in health.exports:
        yield found.address, "", f"metrics are not pushed: {found.reason}"


def _troubles(health: Health) -> Iterator[tuple[DeviceHealth, SlotTrouble]]:
    return ((device, trouble) for device in health.devices for trouble in device.slots)


def _is_signature(trouble: SlotTrouble) -> bool:
    failure = trouble.failure
    return (
        failure is not None
        and failure.component == "verifier"
        and failure.kind is FailureKind.PERMANENT
    )


def _is_damage(trouble: SlotTrouble) -> bool:
    failure = trouble.failure
    return (
        failure is not None
        and failure.component in {"store", "fetch"}
        and failure.kind is FailureKind.PERMANENT
    )


def _at(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")


_AWAY: Final = frozenset({"silent", "telemetry_late", "certificate"})

RULES: Final = (
    Rule("site_silent", Severity.CRITICAL, _MINUTE, _site_silent, _AWAY),
    Rule("silent", Severity.WARNING, _MINUTE, _silent),
    Rule("crash_loop", Severity.CRITICAL, timedelta(0), _crash_loop),
    Rule("activation_failed", Severity.WARNING, timedelta(0), _activation_failed),
    Rule("degraded", Severity.WARNING, 5 * _MINUTE, _degraded),
    Rule("signature_refused", Severity.CRITICAL, timedelta(0), _signature_refused),
    Rule("hash_mismatch", Severity.CRITICAL, timedelta(0), _hash_mismatch),
    Rule("rollout_stalled", Severity.WARNING, timedelta(0), _rollout_stalled),
    Rule("disk", Severity.WARNING, 10 * _MINUTE, _disk),
    Rule("clock_skew", Severity.WARNING, 5 * _MINUTE, _clock_skew),
    Rule("certificate", Severity.WARNING, 10 * _MINUTE, _certificate),
    Rule("telemetry_late", Severity.WARNING, 10 * _MINUTE, _telemetry_late),
    Rule("telemetry_refused", Severity.WARNING, timedelta(0), _telemetry_refused),
    Rule("telemetry_lost", Severity.WARNING, timedelta(0), _telemetry_lost),
    Rule("drift", Severity.WARNING, timedelta(0), _drift),
    Rule("export_failed", Severity.WARNING, 5 * _MINUTE, _export_failed),
)
"""In the order in which people read them."""

BY_NAME: Final = {rule.name: rule for rule in RULES}
