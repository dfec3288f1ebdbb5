"""A model goes from its producer over two registries to a device, where anybody can check it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from demo_story.models import Models, make_models
from demo_story.plant import MODEL, SLOT, Plant
from support.debian import needs
from support.registries import docker_registry
from support.signed import ACME, RIVAL, private, public
from support.stock_signing import StockSigning, install
from support.stories import refusal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True)
class Line:
    """A plant that takes only what acme signed, and its one device."""

    plant: Plant
    folder: Path
    models: Models

    def sealane(self, *words: object) -> str:
        return self.plant.processes.sealane(*map(str, words))

    def stays_outside(self, layout: Path, says: str) -> None:
        command = ("bundle", "publish", layout, "--release", f"{MODEL}@1", "--slot", SLOT)
        environment = self.plant.processes.environment
        found = refusal("sealane", *map(str, command), environment=environment)
        assert found.code == 3
        assert says in found.error


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    producers = tmp_path / "producers"
    producers.mkdir()
    (producers / "acme.pem").write_bytes(public(ACME))
    for name, key in (("acme", ACME), ("rival", RIVAL)):
        (tmp_path / f"{name}.key").write_bytes(private(key))
    monkeypatch.setenv("SEALANE_INTAKE_PRODUCERS", str(producers))
    plant = Plant(tmp_path)
    try:
        plant.init()
        plant.start_manager()
        plant.enrol("box-1")
        plant.start_agent("box-1")
        plant.wait_connected(1)
        yield Line(plant, tmp_path, make_models(tmp_path / "models"))
    finally:
        plant.stop()


@pytest.fixture
def stock(tmp_path: Path) -> StockSigning:
    return install(tmp_path / "stock")


def mirrored(line: Line, signed: Path) -> Path:
    """The bundle after it went to the producer's registry, to the plant's, and out of that one."""
    skopeo = needs("skopeo")
    there, here = line.folder / "there", line.folder / "here"
    with docker_registry(there) as producers, docker_registry(here) as plants:
        line.sealane("bundle", "push", signed, f"{producers}/acme/digits:1", "--plain-http")
        command = [skopeo, "--insecure-policy", "copy"]
        command += ["--src-tls-verify=false", "--dest-tls-verify=false"]
        command += [f"docker://{producers}/acme/digits:1", f"docker://{plants}/plant/digits:1"]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        out = line.folder / "pulled"
        name = f"{plants}/plant/digits:1"
        line.sealane("bundle", "pull", name, "--plain-http", "--out", out)
    return out


def test_a_model_is_signed_mirrored_taken_in_and_verified_where_it_runs(
    line: Line, stock: StockSigning
) -> None:
    first = line.models.releases[1]
    packed = line.plant.pack(first.onnx, first.data, "--probation-seconds", "1")
    line.stays_outside(packed, "it has no model.sig, and one by acme.pem is demanded")
    for name in ("acme", "rival"):
        key = line.folder / f"{name}.key"
        line.sealane("bundle", "sign", packed, "--key", key, "--out", line.folder / name)
    line.stays_outside(line.folder / "rival", "model.sig was not made by acme.pem")

    pulled = mirrored(line, line.folder / "acme")
    pem = line.folder / "producers" / "acme.pem"
    assert "acme.pem, key " in line.sealane("bundle", "verify", pulled, "--producer-key", pem)
    line.plant.publish(pulled, 1)
    rollout = line.plant.start_rollout(1, "100%", "--soak", "0s")
    assert line.plant.wait_ended(rollout)["state"] == "succeeded"

    (deployed,) = (line.folder / "box-1" / "store" / "views").iterdir()
    assert stock.accepts(deployed, pem)
    logged = line.sealane("audit", "list", "-o", "json")
    assert f"{MODEL}@1: signed by acme.pem" in logged
    assert logged.count('"refuse"') == 2
