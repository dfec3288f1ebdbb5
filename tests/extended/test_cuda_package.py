"""The package with CUDA, built for real: who uses its engine, and what that says without a card.

A stub of a driver, compiled here, says what drivers say; everything else is real.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import pytest
import uvloop
from sealane.failure import FailureKind
from sealane_agent.runtimes.ability import ask_engine
from sealane_agent.runtimes.packs import VARIABLE
from sealane_agent.serving.types import LoadFailed
from sealane_agent.serving.worker_process import WorkerProcess
from support.repository import ROOT
from support.workers import Recipe, lay_out, load_order, workplace

if TYPE_CHECKING:
    from pathlib import Path

    from sealane_agent.serving.messages import Proved

BUILD_S = 1800
SYMBOLS = (
    *("cuGetErrorString", "cuModuleGetFunction", "cuModuleLoadData", "cuModuleUnload"),
    *("cuTensorMapEncodeIm2col", "cuTensorMapEncodeTiled"),
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the package is for Linux")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's files, laid out as on a machine."""
    folder = tmp_path_factory.mktemp("cuda")
    suite = {(3, 11): "deb12", (3, 13): "deb13"}[sys.version_info[:2]]
    build = ("sealane-runtime-cuda", "--suite", suite, "--out", str(folder / "dist"))
    subprocess.run([ROOT / "scripts" / "package", *build], check=True, timeout=BUILD_S)
    (package,) = (folder / "dist").glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", package, folder / "root"], check=True)  # noqa: S607 - Debian's
    package.unlink()
    return folder / "root"


@pytest.fixture
def packs(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = root / "usr/lib/sealane-runtimes"
    monkeypatch.setenv(VARIABLE, str(folder))
    return folder


class Driver(NamedTuple):
    """What a driver says to its first call, for which CUDA it is, and what else it has."""

    answer: int
    version: int
    symbols: tuple[str, ...] = SYMBOLS

    def compiled(self, folder: Path) -> str:
        """A library that speaks so and has one card; returns its folder."""
        compiler = shutil.which("cc") or shutil.which("gcc")
        assert compiler, "install a C compiler: apt-get install gcc"
        lines = [
            f"int cuInit(unsigned flags) {{ return {self.answer}; }}",
            "int cuDeviceGetCount(int *count) { *count = 1; return 0; }",
            f"int cuDriverGetVersion(int *version) {{ *version = {self.version}; return 0; }}",
            *(f"int {name}(void) {{ return 100; }}" for name in self.symbols),
        ]
        folder.mkdir()
        (folder / "stub.c").write_text("\n".join(lines))
        library = folder / "libcuda.so.1"
        options = ("-shared", "-fPIC", "-Wl,-soname,libcuda.so.1")
        subprocess.run([compiler, *options, "-o", library, folder / "stub.c"], check=True)
        return str(folder)


def started(folder: Path, accelerator: str) -> Proved:
    """What a worker of the variant proved; raises LoadFailed."""

    async def scene() -> Proved:
        state = lay_out(folder / "state", replace(Recipe.good(), accelerator=accelerator))
        worker = await WorkerProcess.start("cam-1", load_order(), workplace(state))
        await worker.close(0)
        return worker.proved

    return uvloop.run(scene())


def test_it_holds_no_second_copy_of_what_the_agent_brings(packs: Path) -> None:
    assert (packs / "cuda" / "onnxruntime").is_dir()
    for name in ("numpy", "google", "flatbuffers", "packaging"):
        assert not (packs / "cuda" / name).exists()


def test_variants_for_the_cpu_go_on_with_the_agents_engine(packs: Path, tmp_path: Path) -> None:
    assert packs.is_dir()
    proved = started(tmp_path, "cpu")
    marks = [path.name for path in (packs / "cuda").glob("onnxruntime_gpu-*.dist-info")]
    assert f"onnxruntime_gpu-{proved.runtime_version}.dist-info" not in marks


@pytest.mark.usefixtures("packs")
@pytest.mark.parametrize(
    ("driver", "says"),
    [
        (Driver(100, 13000), "finds no card"),
        (Driver(803, 13000), "different versions"),
        (Driver(0, 12080), "for CUDA 12.8 at most, the engine needs 13"),
        (Driver(0, 13000, ()), "older than the engine: it has no cuTensorMapEncodeTiled"),
        (Driver(0, 13050), "its driver is older than the CUDA libraries need"),
    ],
)
def test_each_trouble_of_a_driver_is_told_by_a_worker_of_a_gpu_variant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: Driver, says: str
) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", driver.compiled(tmp_path / "driver"))
    with pytest.raises(LoadFailed) as raised:
        started(tmp_path, "gpu")
    failure = raised.value.failure
    assert (failure.kind, failure.component) == (FailureKind.ENVIRONMENTAL, "accelerator")
    assert says in failure.message
    assert failure.hint


def test_without_nvidias_libraries_the_first_that_is_missing_is_named(
    packs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = tmp_path / "packs"
    shutil.copytree(packs / "cuda" / "onnxruntime", bare / "cuda" / "onnxruntime", symlinks=True)
    monkeypatch.setenv(VARIABLE, str(bare))
    monkeypatch.setenv("LD_LIBRARY_PATH", Driver(0, 13050).compiled(tmp_path / "driver"))
    with pytest.raises(LoadFailed, match="lacks the library libcublasLt"):
        started(tmp_path, "gpu")


def test_the_agent_is_told_what_its_engine_with_cuda_says(packs: Path) -> None:
    if os.path.exists("/dev/nvidiactl"):  # noqa: PTH110 - one question
        pytest.skip("this machine has a driver")
    assert packs.is_dir()
    (missing,) = (each for each in ask_engine("onnxruntime").missing if each.accelerator == "gpu")
    assert "driver is not installed" in missing.says


def test_its_units_get_the_cards_and_nothing_else(root: Path) -> None:
    for unit in ("sealane-endpoint", "sealane-agent"):
        drop_in = root / f"usr/lib/systemd/system/{unit}.service.d/50-cuda.conf"
        settings = [line for line in drop_in.read_text().splitlines() if "=" in line]
        assert [each for each in settings if each.startswith("DeviceAllow=")] == [
            "DeviceAllow=char-nvidia* rw"
        ]


def test_the_trial_of_an_accelerator_refuses_here_and_rehearses_itself() -> None:
    trial = ROOT / "scripts" / "try-accelerator"
    if not os.path.exists("/dev/nvidiactl"):  # noqa: PTH110 - one question
        refused = subprocess.run([trial], capture_output=True, text=True, check=False, timeout=300)
        assert refused.returncode == 2
        assert refused.stderr.startswith("cannot try it here: NVIDIA's driver is not installed")
    rehearsed = subprocess.run(
        [trial, "--accelerator", "cpu", "--requests", "10"],
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    assert "cnn: it lies on the cpu" in rehearsed.stdout
    assert json.dumps(rehearsed.stdout).count("asked in turns") == 2
