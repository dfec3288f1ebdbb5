"""The names of every metric, once; `docs/metrics.md` says their units and where they are recorded.

Histograms keep microseconds: their buckets then are those that the device counted in, one to one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Container

REQUESTS: Final = "sealane_requests_total"
ERRORS: Final = "sealane_request_errors_total"
FALLBACKS: Final = "sealane_request_fallbacks_total"
LATENCY: Final = "sealane_request_latency_microseconds"
QUEUE: Final = "sealane_request_queue_microseconds"
BATCH: Final = "sealane_batch_rows"
PREDICTIONS: Final = "sealane_predictions_total"
CONFIDENCE: Final = "sealane_prediction_confidence"
COMPARED: Final = "sealane_shadow_compared_total"
DISAGREED: Final = "sealane_shadow_disagreed_total"
INPUT: Final = "sealane_input_values_total"
INPUT_MISSING: Final = "sealane_input_missing_total"
INPUT_NON_FINITE: Final = "sealane_input_non_finite_total"

ROWS: Final = "sealane_rows_total"
CALLS: Final = "sealane_engine_calls_total"
PENDING: Final = "sealane_requests_pending"
WORKER_MEMORY: Final = "sealane_worker_memory_bytes"
WORKER_PEAK: Final = "sealane_worker_peak_memory_bytes"
DEGRADED: Final = "sealane_model_degraded"

HOST_CPU: Final = "sealane_host_cpu_ratio"
HOST_MEMORY: Final = "sealane_host_memory_ratio"
HOST_DISK: Final = "sealane_host_disk_ratio"
HOST_TEMPERATURE: Final = "sealane_host_temperature_celsius"
HOST_ACCELERATOR: Final = "sealane_host_accelerator_ratio"
HOST_CLOCK_OFFSET: Final = "sealane_host_clock_offset_seconds"
HOST_THROTTLED: Final = "sealane_host_throttled_seconds_total"
HOST_RESTARTS: Final = "sealane_worker_restarts_total"

DRIFT: Final = "sealane_drift_distance"
DRIFT_ALARM: Final = "sealane_drift_alarm"

INFO: Final = "sealane_manager_info"
DEVICES: Final = "sealane_devices"
ROLLOUTS: Final = "sealane_rollouts"
ALERTS: Final = "sealane_alerts"

BRIGHTNESS: Final = "brightness"
CONTRAST: Final = "contrast"
SHARPNESS: Final = "sharpness"
STRIPES: Final = "stripes"
RMS: Final = "rms"
CREST: Final = "crest"


def statistic_of(tensor: str, statistic: str) -> str:
    """What a statistic of an input is called, in a bundle's reference and in windows."""
    return f"{tensor}:{statistic}"


def column_of(tensor: str, column: int) -> str:
    """What one column of a tabular input is called, in a bundle's reference and in windows."""
    return f"{tensor}[{column}]"


def tensor_of(name: str, tensors: Container[str]) -> str:
    """The input among these that a reference of this name describes; empty without one."""
    candidates = (name, name.rpartition(":")[0], name.rpartition("[")[0])
    return next((found for found in candidates if found in tensors), "")
