"""Decides what deployment.json says: the contract between a bundle and the device that serves it.

Fields that this version does not know are kept in `Deployment.extra`, in the same tree of keys
(list entries under their index), and written back where they stood.
"""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from sealane.bundle.fit import INSTRUCTIONS
from sealane.bundle.jsonform import Fields, dump, load
from sealane.bundle.types import (
    Agreement,
    DataType,
    Deployment,
    Golden,
    Measure,
    Needs,
    Objective,
    ProbationLimits,
    ReferenceBins,
    Rule,
    TensorSpec,
    Tolerance,
    Variant,
)
from sealane.bundle.unknown import listed, merged, unknown
from sealane.errors import BundleError, InvalidName
from sealane.limits import BLOB_BYTES, BUNDLE_FILES, DEPLOYMENT_BYTES
from sealane.names import ReleaseName
from sealane.sampling.terms import read_terms

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT: Final = 1
"""Grows only when an old reader would misunderstand a new file."""

TENSORS: Final = 64
"""Inputs or outputs of one model."""

RANK: Final = 8
"""Dimensions of one tensor: what the runtimes take on every accelerator."""

DIMENSION: Final = 2**31 - 1
"""Elements along one dimension."""

VARIANTS: Final = 32
"""Variants of one bundle."""

GOLDEN_ROWS: Final = 4096
"""Golden rows: a device runs them all before a release serves."""

BINS: Final = 1024
"""Edges of one histogram."""

LABELS: Final = 100_000
"""Names of classes."""

BATCH_ROWS: Final = 4096
"""Rows of one call of the engine."""

PROBATION_SECONDS: Final = 30 * 86_400.0
"""A month: nobody watches longer."""

WITHIN_MS: Final = 3_600_000.0
"""An hour: no load has so much time."""

TOLERANCE: Final = 1e9
"""Beyond this a tolerance is a slip of the pen."""

ACCELERATORS: Final = ("cpu", "gpu", "npu")

_WORD: Final = re.compile(r"[a-z0-9](?:[a-z0-9_.-]{0,62}[a-z0-9])?")
_TENSOR_CHARS: Final = 256


def encode_deployment(deployment: Deployment) -> bytes:
    """Encode the one way, with the unknown fields where they stood."""
    return dump(merged(_known(deployment), deployment.extra))


def parse_deployment(content: bytes) -> Deployment:
    """Read deployment.json, or raise BundleError."""
    found = load(content, DEPLOYMENT_BYTES, "deployment.json")
    if found.integer("format", 1, DIMENSION) != FORMAT:
        raise BundleError(
            f"deployment.json has format {found.raw['format']}, this version reads {FORMAT}",
            hint="update sealane",
        )
    known = Deployment(
        model=check_model_name(found.text("model")),
        inputs=_specs(found, "inputs"),
        outputs=_specs(found, "outputs"),
        variants=_variants(found),
        golden=_golden(found.fields("golden")),
        reference=tuple(_bins(bins) for bins in found.objects("reference", TENSORS)),
        probation=_probation(found.fields("probation")),
        labels=found.texts("labels", LABELS),
        batch_rows=_batch_rows(found),
    )
    if "sampling" in found.raw:
        known = replace(known, sampling=read_terms(found.fields("sampling"), known.inputs))
    if "agreement" in found.raw:
        known = replace(known, agreement=_agreement(found.fields("agreement"), known.outputs))
    if "objective" in found.raw:
        known = replace(known, objective=_objective(found.fields("objective")))
    return replace(known, extra=unknown(found.raw, _known(known)))


def _known(deployment: Deployment) -> dict[str, Any]:
    known = asdict(deployment) | {"format": FORMAT}
    del known["extra"], known["sampling"]
    if deployment.objective == Objective():
        del known["objective"]
    for name in ("batch_rows", "agreement"):
        if not known[name]:
            del known[name]
    for variant in known["variants"]:
        if not any(variant["needs"].values()):
            del variant["needs"]
    if deployment.sampling is not None:
        known["sampling"] = deployment.sampling.fields()
    plain: dict[str, Any] = listed(known)
    return plain


def check_model_name(text: str) -> str:
    """Return `family/model`, or raise BundleError."""
    try:
        return ReleaseName.parse(f"{text}@1").model
    except InvalidName as error:
        raise BundleError(
            f"{text[:80]!r} is not a model's name", hint="write family/model, e.g. vision/defect"
        ) from error


def _specs(found: Fields, key: str) -> tuple[TensorSpec, ...]:
    specs = tuple(_spec(item) for item in found.objects(key, TENSORS))
    _check_unique([spec.name for spec in specs], f"{found.where}: {key}")
    return specs


def _spec(found: Fields) -> TensorSpec:
    shape = found.items("shape", RANK)
    if not shape or any(not _is_dimension(size) for size in shape):
        raise BundleError(f"{found.where}: shape is not a list of -1 or sizes from 1")
    return TensorSpec(_tensor_name(found), _datatype(found), tuple(shape))


def _datatype(found: Fields) -> DataType:
    text = found.text("datatype")
    try:
        return DataType(text)
    except ValueError as error:
        raise BundleError(f"{found.where} has the unknown datatype {text[:40]!r}") from error


def _is_dimension(size: object) -> bool:
    return type(size) is int and (size == -1 or 1 <= size <= DIMENSION)


def _tensor_name(found: Fields) -> str:
    name = found.text("name")
    if not (1 <= len(name) <= _TENSOR_CHARS and name.isprintable()):
        raise BundleError(f"{found.where}: {name[:40]!r} is not a name for a tensor")
    return name


def _variants(found: Fields) -> tuple[Variant, ...]:
    variants = tuple(_variant(item) for item in found.objects("variants", VARIANTS))
    _check_unique([variant.name for variant in variants], f"{found.where}: variants")
    return variants


def _variant(found: Fields) -> Variant:
    accelerator = _word(found, "accelerator")
    if accelerator not in ACCELERATORS:
        raise BundleError(f"{found.where}: accelerator is not one of {', '.join(ACCELERATORS)}")
    tolerance = found.fields("tolerance")
    return Variant(
        name=_word(found, "name"),
        runtime=_word(found, "runtime"),
        accelerator=accelerator,
        precision=_word(found, "precision"),
        model=found.text("model"),
        files=found.texts("files", BUNDLE_FILES),
        tolerance={name: _tolerance(tolerance.fields(name)) for name in tolerance.raw},
        memory_bytes=found.integer("memory_bytes", 0, 64 * BLOB_BYTES),
        needs=_needs(found.fields("needs")) if "needs" in found.raw else Needs(),
    )


def _needs(found: Fields) -> Needs:
    instructions = found.texts("instructions", len(INSTRUCTIONS))
    if unknown_sets := [each for each in instructions if not _WORD.fullmatch(each)]:
        raise BundleError(f"{found.where}: {unknown_sets[0][:40]!r} is no set of instructions")
    highest = found.integer("opset", 0, DIMENSION), found.integer("ir_version", 0, DIMENSION)
    return Needs(*highest, instructions)


def _word(found: Fields, key: str) -> str:
    word = found.text(key)
    if not _WORD.fullmatch(word):
        raise BundleError(
            f"{found.where}: {key} {word[:40]!r} is not a word",
            hint="use up to 64 of a-z, 0-9, '-', '_' and '.'",
        )
    return word


def _tolerance(found: Fields) -> Tolerance:
    return Tolerance(found.number("atol", 0, TOLERANCE), found.number("rtol", 0, TOLERANCE))


def _golden(found: Fields) -> Golden:
    rows = found.integer("rows", 1, GOLDEN_ROWS)
    return Golden(rows, _paths(found.fields("inputs")), _paths(found.fields("outputs")))


def _paths(found: Fields) -> Mapping[str, str]:
    return {name: found.text(name) for name in found.raw}


def _bins(found: Fields) -> ReferenceBins:
    edges = found.numbers("edges", BINS)
    counts = found.items("counts", BINS + 1)
    if any(low >= high for low, high in pairwise(edges)) or len(counts) != len(edges) + 1:
        raise BundleError(f"{found.where}: edges do not grow, or do not fit their counts")
    if any(type(count) is not int or count < 0 for count in counts):
        raise BundleError(f"{found.where}: a count is not a whole number from 0")
    return ReferenceBins(found.text("input"), edges, tuple(counts))


def _probation(found: Fields) -> ProbationLimits:
    limits = ProbationLimits(
        seconds=found.number("seconds", 0, PROBATION_SECONDS),
        min_requests=found.integer("min_requests", 0, DIMENSION),
        deadline_seconds=found.number("deadline_seconds", 0, PROBATION_SECONDS),
        max_error_rate=found.number("max_error_rate", 0, 1),
        max_latency_ratio=found.number("max_latency_ratio", 0, 1e6),
        max_crashes=found.integer("max_crashes", 0, DIMENSION),
        max_memory_ratio=found.number("max_memory_ratio", 0, 1e6),
    )
    if limits.deadline_seconds < limits.seconds:
        raise BundleError(f"{found.where}: deadline_seconds is shorter than seconds")
    return limits


def _batch_rows(found: Fields) -> int:
    return found.integer("batch_rows", 0, BATCH_ROWS) if "batch_rows" in found.raw else 0


def _objective(found: Fields) -> Objective:
    text = found.text("by")
    if text not in list(Measure):
        raise BundleError(
            f"{found.where}: {text[:40]!r} is no objective: {', '.join(Measure)}",
            hint="name one of them, or update sealane where it is a newer one",
        )
    within = found.number("within_ms", 0, WITHIN_MS) if "within_ms" in found.raw else 0.0
    return Objective(Measure(text), within)


def _agreement(found: Fields, outputs: tuple[TensorSpec, ...]) -> dict[str, Agreement]:
    if strange := set(found.raw) - {spec.name for spec in outputs}:
        raise BundleError(f"{found.where}: there is no output {min(strange)[:40]!r}")
    return {name: read_agreement(found.fields(name)) for name in found.raw}


def read_agreement(found: Fields) -> Agreement:
    """One rule; a number that is left out is the rule's own. Raises BundleError."""
    text = found.text("rule")
    if text not in list(Rule):
        raise BundleError(f"{found.where}: {text[:40]!r} is no rule: {', '.join(Rule)}")
    given = Agreement(Rule(text))

    def number(key: str, high: float) -> float:
        return found.number(key, 0, high) if key in found.raw else getattr(given, key)

    return Agreement(
        given.rule,
        atol=number("atol", TOLERANCE),
        rtol=number("rtol", TOLERANCE),
        least=number("least", 1),
        k=found.integer("k", 1, LABELS) if "k" in found.raw else given.k,
        margin=number("margin", TOLERANCE),
    )


def _check_unique(names: list[str], where: str) -> None:
    if not names:
        raise BundleError(f"{where} is empty")
    if len(set(names)) != len(names):
        raise BundleError(f"{where} names one thing twice")
