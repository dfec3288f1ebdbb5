from __future__ import annotations

from sealane.bundle.fit import eligible
from sealane.bundle.fit import needed as files_of
from sealane.bundle.types import Deployment, Golden, Layer, Variant
from sealane.failure import FailureKind
from sealane.fleet import DeviceFacts, RuntimeFact
from sealane_agent.slot import variants
from support.agent_fakes import digest, failure

ORT = RuntimeFact("onnxruntime", "1.32.0", ("cpu",))
FACTS = DeviceFacts("x86_64", "linux", 4, 8_000, (ORT,), "")


def variant(name: str, runtime: str = "onnxruntime", **changes: object) -> Variant:
    fields: dict[str, object] = {"accelerator": "cpu", "memory_bytes": 0}
    fields |= changes
    return Variant(
        name,
        runtime,
        str(fields["accelerator"]),
        "fp32",
        f"{name}/model",
        (f"{name}/model",),
        {},
        int(str(fields["memory_bytes"])),
    )


def test_only_what_the_device_can_run_is_eligible() -> None:
    fits = variant("fits")
    others = (
        variant("ov", "openvino"),
        variant("gpu", accelerator="gpu"),
        variant("big", memory_bytes=9_000),
    )
    assert eligible((fits, *others), FACTS) == (fits,)


def test_why_nothing_fits_names_every_obstacle() -> None:
    why = variants.why_none(
        (variant("ov", "openvino"), variant("gpu", accelerator="gpu")), FACTS, "x"
    )
    assert why.kind is FailureKind.ENVIRONMENTAL
    assert "ov: runtime openvino is not installed" in why.message
    assert "gpu: runtime onnxruntime finds no gpu here" in why.message


def test_files_of_other_variants_stay_away_and_all_else_comes() -> None:
    mine, other = variant("mine"), variant("other", "openvino")
    paths = ("deployment.json", "golden/in.bin", "mine/model", "other/model")
    layers = tuple(Layer(path, "raw", digest(n), 1) for n, path in enumerate(paths))
    deployment = Deployment("m", (), (), (mine, other), Golden(1, {}, {}))
    needed = files_of(layers, deployment, (mine,))
    assert [layer.path for layer in needed] == ["deployment.json", "golden/in.bin", "mine/model"]


def test_a_bundle_is_at_fault_only_when_every_variant_is() -> None:
    bad, busy = failure(FailureKind.PERMANENT), failure(FailureKind.TRANSIENT)
    assert variants.worst((bad, bad)).kind is FailureKind.PERMANENT
    assert variants.worst((bad, busy)) == busy
