"""Says what the endpoint tells about itself and its models, as JSON objects. Pure.

The gRPC door makes messages of the same objects: the protocol's JSON is the messages' own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sealane.bundle.types import DataType
from sealane.telemetry.types import ErrorKind

from sealane_agent.oip import server_facts
from sealane_agent.serving.geometry import ROWS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sealane.bundle.types import Deployment, TensorSpec

    from sealane_agent.oip.regions import Region
    from sealane_agent.serving.descriptions import Counted, Description, Listed

_STRING: Final = "TYPE_STRING"

REASONS: Final = {
    ErrorKind.OVERLOADED: "REJECTED",
    ErrorKind.EXPIRED: "REJECTED",
    ErrorKind.CANCELLED: "CANCELED",
    ErrorKind.FAILED: "BACKEND",
    ErrorKind.CRASHED: "BACKEND",
    ErrorKind.HUNG: "BACKEND",
}
"""Why a request failed, in the words of Triton's metrics; everything else is OTHER."""


def server() -> dict[str, Any]:
    """The endpoint."""
    return {
        "name": server_facts.NAME,
        "version": server_facts.VERSION,
        "extensions": list(server_facts.EXTENSIONS),
    }


def model(described: Description) -> dict[str, Any]:
    """A model's metadata."""
    return {
        "name": described.name,
        "versions": [str(version) for version in described.versions],
        "platform": described.runtime,
        "inputs": [_spec(spec) for spec in described.deployment.inputs],
        "outputs": [_spec(spec) for spec in described.deployment.outputs],
    }


def properties(described: Description) -> dict[str, str]:
    """What only the protocol's own message has room for: which model, on what, proved how."""
    return {
        "model": described.deployment.model,
        "runtime": described.runtime,
        "variant": described.variant.name,
        "accelerator": described.variant.accelerator,
        "precision": described.variant.precision,
    }


def _spec(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype.value, "shape": list(spec.shape)}


def config(described: Description) -> dict[str, Any]:
    """How a model is served, as far as stock clients ask."""
    contract = described.deployment
    rows = _most_rows(contract)
    batching: dict[str, Any] = {}
    if contract.batch_rows:
        batching["dynamic_batching"] = {"max_queue_delay_microseconds": 0}
    return {
        "name": described.name,
        "platform": described.runtime,
        "backend": described.runtime,
        "max_batch_size": rows,
        "input": [_config(spec, rows) for spec in contract.inputs],
        "output": [_config(spec, rows) for spec in contract.outputs],
        "model_transaction_policy": {"decoupled": False},
        **batching,
    }


def _most_rows(contract: Deployment) -> int:
    """0 where the first dimension is not free everywhere: then it is no batch."""
    specs = (*contract.inputs, *contract.outputs)
    return ROWS if all(spec.shape[:1] == (-1,) for spec in specs) else 0


def _config(spec: TensorSpec, rows: int) -> dict[str, Any]:
    kind = _STRING if spec.datatype is DataType.BYTES else f"TYPE_{spec.datatype}"
    dims = list(spec.shape[1:] if rows else spec.shape)
    return {"name": spec.name, "data_type": kind, "dims": dims}


def statistics(counted: Iterable[Counted]) -> dict[str, Any]:
    """What requests came to, of each version; times in nanoseconds."""
    return {"model_stats": [_counted(item) for item in counted]}


def _counted(item: Counted) -> dict[str, Any]:
    totals, answered = item.totals, item.totals.answered
    computed = _lasted(answered, totals.computed_s)
    return {
        "name": item.name,
        "version": str(item.version),
        "last_inference": item.last_ms,
        "inference_count": totals.rows,
        "execution_count": totals.calls,
        "inference_stats": {
            "success": _lasted(answered, totals.seconds),
            "fail": _lasted(sum(totals.failed.values()), totals.failed_s),
            "queue": _lasted(answered, totals.waited_s),
            "compute_input": _lasted(answered, 0),
            "compute_infer": computed,
            "compute_output": _lasted(answered, 0),
            "cache_hit": _lasted(0, 0),
            "cache_miss": _lasted(0, 0),
        },
        "batch_stats": [],
        "memory_usage": [{"type": "CPU", "id": 0, "byte_size": item.memory_bytes}],
    }


def _lasted(count: int, seconds: float) -> dict[str, int]:
    return {"count": count, "ns": max(0, round(seconds * 1e9))}


def index(listed: Iterable[Listed], *, only_ready: bool) -> list[dict[str, str]]:
    """Every version of every model."""
    return [
        {
            "name": item.name,
            "version": str(item.version),
            "state": "READY" if item.ready else "UNAVAILABLE",
            "reason": item.reason,
        }
        for item in listed
        if item.ready or not only_ready
    ]


def region(found: Region) -> dict[str, Any]:
    """A region of shared memory."""
    return {
        "name": found.name,
        "key": found.key,
        "offset": found.offset,
        "byte_size": found.byte_size,
    }


TRACE: Final = {
    "trace_file": "",
    "trace_level": ["OFF"],
    "trace_rate": "0",
    "trace_count": "0",
    "log_frequency": "0",
}
"""Nothing is traced request by request: telemetry counts, `docs/metrics.md`."""

LOGGING: Final = {
    "log_file": "",
    "log_info": True,
    "log_warning": True,
    "log_error": True,
    "log_verbose_level": 0,
    "log_format": "default",
}
"""What the endpoint's log holds."""
