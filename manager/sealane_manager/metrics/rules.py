"""Writes recording and alerting rules for Prometheus, over the names that are exported. Pure.

JSON is YAML, so the document is read by Prometheus as it is.
"""

from __future__ import annotations

from typing import Any, Final

from sealane.telemetry import names

COHORT: Final = "model, release, slot, arm"
RATE: Final = "5m"
QUANTILES: Final = ((0.5, "p50"), (0.9, "p90"), (0.99, "p99"))
ANSWERING: Final = 'arm!~"shadow|previous"'
"""The arms whose answers clients got."""


def rules() -> dict[str, Any]:
    """A rules file."""
    return {
        "groups": [
            {"name": "sealane-cohorts", "rules": [*_rates(), *_quantiles()]},
            {"name": "sealane-alerts", "rules": [_failing(), _slow(), _offline(), _open()]},
        ]
    }


def _rates() -> list[dict[str, Any]]:
    requests = f"sum by ({COHORT}) (rate({names.REQUESTS}[{RATE}]))"
    errors = f"sum by ({COHORT}) (rate({names.ERRORS}[{RATE}]))"
    return [
        _record("sealane:requests:rate5m", requests),
        _record("sealane:errors:ratio5m", f"{errors} / ({requests} > 0)"),
    ]


def _quantiles() -> list[dict[str, Any]]:
    return [_record(f"sealane:latency_us:{word}", latency(share)) for share, word in QUANTILES]


def latency(share: float, by: str = COHORT, where: str = "") -> str:
    """A quantile of the latency in microseconds, from classic buckets."""
    selected = f"{names.LATENCY}_bucket{{{where}}}" if where else f"{names.LATENCY}_bucket"
    return f"histogram_quantile({share}, sum by (le, {by}) (rate({selected}[{RATE}])))"


def _failing() -> dict[str, Any]:
    return _alert(
        "SealaneReleaseFails",
        f"sealane:errors:ratio5m{{{ANSWERING}}} > 0.05",
        "{{ $labels.release }} in {{ $labels.slot }} fails {{ $value | humanizePercentage }}",
    )


def _slow() -> dict[str, Any]:
    return _alert(
        "SealaneReleaseSlower",
        f"sealane:latency_us:p99{{{ANSWERING}}} > 2 *"
        f" (sealane:latency_us:p99{{{ANSWERING}}} offset 1d)",
        "{{ $labels.release }} in {{ $labels.slot }} takes twice as long as yesterday",
    )


def _offline() -> dict[str, Any]:
    offline = f'sum({names.DEVICES}{{status="offline"}})'
    everyone = f'sum({names.DEVICES}{{status!~"revoked|pending"}})'
    return _alert(
        "SealaneDevicesOffline",
        f"{offline} / {everyone} > 0.1",
        "{{ $value | humanizePercentage }} of the devices are offline",
    )


def _open() -> dict[str, Any]:
    return _alert(
        "SealaneCriticalAlert",
        f'sum by (rule) ({names.ALERTS}{{severity="critical"}}) > 0',
        "{{ $value }} critical alerts of {{ $labels.rule }} are open in Sealane",
    )


def _record(name: str, expression: str) -> dict[str, Any]:
    return {"record": name, "expr": expression}


def _alert(name: str, expression: str, summary: str) -> dict[str, Any]:
    return {
        "alert": name,
        "expr": expression,
        "for": "10m",
        "labels": {"severity": "warning"},
        "annotations": {"summary": summary},
    }
