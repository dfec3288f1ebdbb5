"""Writes dashboards for Grafana, with Prometheus as their source and without any plugin. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sealane.telemetry import names

from sealane_manager.metrics.rules import ANSWERING, QUANTILES, RATE, latency

SCHEMA: Final = 39
WIDTH, HEIGHT = 12, 8
"""Of a panel: two to a row of 24."""

_SOURCE: Final = {"type": "prometheus", "uid": "${source}"}


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart: expressions with their legends, and the unit in Grafana's words."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]


def dashboards() -> dict[str, dict[str, Any]]:
    """By file name."""
    return {
        "sealane-fleet.json": _dashboard("sealane-fleet", "Sealane: fleet", _fleet(), ""),
        "sealane-release.json": _dashboard(
            "sealane-release", "Sealane: releases", _release(), names.REQUESTS
        ),
    }


def _fleet() -> tuple[Panel, ...]:
    requests = f"sum by (model) (rate({names.REQUESTS}{{{ANSWERING}}}[{RATE}]))"
    errors = f"sum by (model) (rate({names.ERRORS}{{{ANSWERING}}}[{RATE}]))"
    return (
        Panel("Devices", "short", ((f"sum by (status) ({names.DEVICES})", "{{status}}"),)),
        Panel("Open alerts", "short", ((f"sum by (rule) ({names.ALERTS})", "{{rule}}"),)),
        Panel("Requests", "reqps", ((requests, "{{model}}"),)),
        Panel("Errors", "percentunit", ((f"{errors} / ({requests} > 0)", "{{model}}"),)),
        Panel("Latency", "µs", _quantiles("model", ANSWERING)),
        Panel("Rollouts", "short", ((f"sum by (state) ({names.ROLLOUTS})", "{{state}}"),)),
    )


def _release() -> tuple[Panel, ...]:
    where = 'model="$model"'
    by = "release, arm"
    legend = "{{release}} {{arm}}"
    requests = f"sum by ({by}) (rate({names.REQUESTS}{{{where}}}[{RATE}]))"
    errors = f"sum by (kind, {by}) (rate({names.ERRORS}{{{where}}}[{RATE}]))"
    fallbacks = f"sum by ({by}) (rate({names.FALLBACKS}{{{where}}}[{RATE}]))"
    compared = f"sum by ({by}) (rate({names.COMPARED}{{{where}}}[{RATE}]))"
    disagreed = f"sum by ({by}) (rate({names.DISAGREED}{{{where}}}[{RATE}]))"
    classes = f"sum by (class, release) (rate({names.PREDICTIONS}{{{where}}}[{RATE}]))"
    missing = f"sum by (input) (rate({names.INPUT_MISSING}{{{where}}}[{RATE}]))"
    return (
        Panel("Requests", "reqps", ((requests, legend),)),
        Panel("Errors", "reqps", ((errors, "{{kind}} " + legend),)),
        Panel("Latency", "µs", _quantiles(by, where)),
        Panel("Answered by the previous release", "reqps", ((fallbacks, legend),)),
        Panel(
            "Shadow answers that differ", "percentunit", ((f"{disagreed} / {compared}", legend),)
        ),
        Panel("Classes", "reqps", ((classes, "{{release}} {{class}}"),)),
        Panel("Missing values", "short", ((missing, "{{input}}"),)),
    )


def _quantiles(by: str, where: str) -> tuple[tuple[str, str], ...]:
    legend = " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(","))
    return tuple((latency(share, by, where), f"{word} {legend}") for share, word in QUANTILES)


def _dashboard(uid: str, title: str, panels: tuple[Panel, ...], models: str) -> dict[str, Any]:
    variables = [_source(), *([_models(models)] if models else [])]
    return {
        "uid": uid,
        "title": title,
        "schemaVersion": SCHEMA,
        "tags": ["sealane"],
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "1m",
        "templating": {"list": variables},
        "panels": [_panel(number, panel) for number, panel in enumerate(panels)],
    }


def _source() -> dict[str, Any]:
    return {"name": "source", "type": "datasource", "query": "prometheus", "label": "Source"}


def _models(metric: str) -> dict[str, Any]:
    return {
        "name": "model",
        "type": "query",
        "label": "Model",
        "datasource": _SOURCE,
        "query": {"query": f"label_values({metric}, model)", "refId": "model"},
        "refresh": 2,
        "sort": 1,
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": _SOURCE,
        "gridPos": {
            "x": number % 2 * WIDTH,
            "y": number // 2 * HEIGHT,
            "w": WIDTH,
            "h": HEIGHT,
        },
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + at), "expr": expression, "legendFormat": legend}
            for at, (expression, legend) in enumerate(panel.queries)
        ],
    }
