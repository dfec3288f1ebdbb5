"""What a bundle says, as plain values: the deployment contract and the manifest.

A bundle is immutable and addressed by the digest of its manifest. `deployment.json` inside it is
Sealane's contract: what goes in and out, which variants exist, and how a device proves them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from sealane.names import Digest
    from sealane.sampling.types import SamplingTerms


class DataType(StrEnum):
    """Tensor element types, in the words of the Open Inference Protocol."""

    BOOL = "BOOL"
    UINT8 = "UINT8"
    UINT16 = "UINT16"
    UINT32 = "UINT32"
    UINT64 = "UINT64"
    INT8 = "INT8"
    INT16 = "INT16"
    INT32 = "INT32"
    INT64 = "INT64"
    FP16 = "FP16"
    FP32 = "FP32"
    FP64 = "FP64"
    BF16 = "BF16"
    BYTES = "BYTES"


ITEM_BYTES: Final[Mapping[DataType, int]] = {
    DataType.BOOL: 1,
    DataType.UINT8: 1,
    DataType.UINT16: 2,
    DataType.UINT32: 4,
    DataType.UINT64: 8,
    DataType.INT8: 1,
    DataType.INT16: 2,
    DataType.INT32: 4,
    DataType.INT64: 8,
    DataType.FP16: 2,
    DataType.FP32: 4,
    DataType.FP64: 8,
    DataType.BF16: 2,
}
"""Bytes of one element; text has no fixed size."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output; a dimension of -1 is free (the first one is the batch)."""

    name: str
    datatype: DataType
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far an output may be from the golden one: |got - want| <= atol + rtol * |want|."""

    atol: float
    rtol: float


class Rule(StrEnum):
    """How two answers are compared."""

    CLOSE = "close"
    """Every element within a tolerance, as golden outputs are."""
    EXACT = "exact"
    COSINE = "cosine"
    """Each row points in nearly the same direction: embeddings."""
    TOP_K = "top_k"
    """The same classes come first in each row."""
    OVERLAP = "overlap"
    """Each box covers one of the other's: intersection over union."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """When two releases say the same in one output.

    Attributes:
        atol, rtol: of CLOSE: |got - want| <= atol + rtol * |want|.
        least: of COSINE and OVERLAP: the smallest cosine, or share of covered area.
        k: of TOP_K: how many classes.
        margin: of TOP_K: where the k-th class is closer to the next than this, either will do.
    """

    rule: Rule
    atol: float = 0.0
    rtol: float = 0.0
    least: float = 0.0
    k: int = 1
    margin: float = 0.0


@dataclass(frozen=True, slots=True)
class Needs:
    """What a variant needs of an engine and of a processor; 0 and empty ask for nothing.

    Attributes:
        opset, ir_version: of ONNX, as its model file says.
        instructions: sets without which it would not run, or not as fast as it was measured.
    """

    opset: int = 0
    ir_version: int = 0
    instructions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Variant:
    """The same model for other hardware or precision.

    Attributes:
        name: unique in the bundle, e.g. `onnx-fp32`.
        runtime: `onnxruntime` or `openvino`.
        accelerator: `cpu`, `gpu` or `npu`.
        precision: `fp32`, `fp16`, `int8`, …: pinned, never chosen by the runtime.
        model: path in the bundle of the file that the runtime loads.
        files: every path the variant needs, `model` included.
        tolerance: per output name; golden outputs must be met within it.
        memory_bytes: what loading and serving is expected to need; 0 when unknown.
        needs: of engine and processor; judged before its files are fetched.
    """

    name: str
    runtime: str
    accelerator: str
    precision: str
    model: str
    files: tuple[str, ...]
    tolerance: Mapping[str, Tolerance]
    memory_bytes: int = 0
    needs: Needs = field(default_factory=Needs)


@dataclass(frozen=True, slots=True)
class Golden:
    """Known inputs and outputs, as raw little-endian tensors in files of the bundle.

    Attributes:
        rows: size of the batch dimension in the files.
        inputs, outputs: tensor name to path in the bundle (C order, datatype of its spec).
    """

    rows: int
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ReferenceBins:
    """How one input was distributed in the data the producer gave.

    `counts` has one entry more than `edges`: below the first, between, above the last.
    """

    input: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ProbationLimits:
    """When a device keeps a new release, and when it goes back by itself.

    Attributes:
        seconds: how long the release is watched at least.
        min_requests: answered requests needed before it is kept.
        deadline_seconds: after that time it is judged on what was seen.
        max_error_rate: share of requests that the release may fail.
        max_latency_ratio: its p95 latency over the previous release's p99; 0 switches the check
            off.
        max_crashes: worker crashes and hangs.
        max_memory_ratio: what its worker holds over what it held when it was proved; 0 switches
            the check off.
    """

    seconds: float = 30.0
    min_requests: int = 0
    deadline_seconds: float = 600.0
    max_error_rate: float = 0.01
    max_latency_ratio: float = 5.0
    max_crashes: int = 0
    max_memory_ratio: float = 3.0


class Measure(StrEnum):
    """By what a device ranks the variants of a bundle that proved themselves."""

    LATENCY = "latency"
    """The lowest latency of one request that is alone."""
    THROUGHPUT = "throughput"
    """The most rows a second, with all requests at once that a worker computes."""
    MEMORY = "memory"
    """The least memory of a worker that serves it."""


@dataclass(frozen=True, slots=True)
class Objective:
    """Which variant of a bundle a device serves, of those that prove themselves on it.

    Attributes:
        within_ms: 95 of 100 inferences of one row take at most so long; variants that do not come
            after all that do. 0: no limit.
    """

    by: Measure = Measure.LATENCY
    within_ms: float = 0.0

    def __str__(self) -> str:
        """For people."""
        return f"{self.by}, within {self.within_ms:g} ms" if self.within_ms else str(self.by)


@dataclass(frozen=True, slots=True)
class Deployment:
    """The whole of deployment.json.

    Attributes:
        batch_rows: rows of waiting requests that may be put into one call of the engine; 0: each
            request by itself.
        sampling: what of its inputs may be kept; None: nothing.
        agreement: by output: when it says the same as another release does; an output that is not
            named has the rule of its kind.
        objective: by which a device chooses among the variants.
        extra: fields that this version does not know, so that they survive a round trip.
    """

    model: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    variants: tuple[Variant, ...]
    golden: Golden
    reference: tuple[ReferenceBins, ...] = ()
    probation: ProbationLimits = field(default_factory=ProbationLimits)
    labels: tuple[str, ...] = ()
    batch_rows: int = 0
    sampling: SamplingTerms | None = None
    agreement: Mapping[str, Agreement] = field(default_factory=dict)
    objective: Objective = Objective()
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Layer:
    """One file of a bundle: where it goes, how large it is, what it hashes to."""

    path: str
    media_type: str
    digest: Digest
    size: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """The OCI manifest of a bundle (ModelPack media types), with the bytes it was read from.

    `digest` is the bundle's address: SHA-256 of `content`; `artifact` is its kind, a model or an
    agent.
    """

    digest: Digest
    content: bytes
    config: Layer
    layers: tuple[Layer, ...]
    artifact: str = "application/vnd.cncf.model.manifest.v1+json"
