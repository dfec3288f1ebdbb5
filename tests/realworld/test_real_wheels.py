"""The three distributions as wheels and as sources, installed with pip as it comes with Python."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from typing import TYPE_CHECKING, Final

import pytest
from realworld.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.nightly

PROJECTS: Final = ("core", "agent", "manager")
USE: Final = """\
from sealane_agent.cli.main import main
from sealane_manager.dashboard import assets
from sealane.wire.v1 import fleet_pb2
assets.check()
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three wheels and three archives of sources."""
    folder = tmp_path_factory.mktemp("dist")
    uv = shutil.which("uv", path=f"{os.environ['PATH']}:{ROOT / '.uv/bin'}")
    assert uv is not None
    for project in PROJECTS:
        subprocess.run([uv, "build", "--quiet", "--out-dir", folder, ROOT / project], check=True)
    return folder


def test_pip_finds_everything_that_the_wheels_depend_on(built: Path, tmp_path: Path) -> None:
    extras = {"sealane": "", "sealane_agent": "[onnx]", "sealane_manager": "[pack]"}
    wheels = [
        f"{path}{extras[path.name.partition('-')[0]]}" for path in sorted(built.glob("*.whl"))
    ]
    pip = make_environment(tmp_path)
    said = subprocess.run(
        [pip, "install", "--quiet", "--dry-run", "--report", "-", *wheels],
        stdout=subprocess.PIPE,
        check=True,
    )
    found = {each["metadata"]["name"] for each in json.loads(said.stdout)["install"]}
    assert {"sealane", "sealane-agent", "sealane-manager", "onnxruntime", "grpcio"} <= found
    assert not found & {"openvino", "openvino-telemetry"}


def test_sources_install_the_same_files_as_wheels_and_both_work(
    built: Path, tmp_path: Path
) -> None:
    files = {}
    for form in ("whl", "tar.gz"):
        pip = make_environment(tmp_path / form)
        given = sorted(str(path) for path in built.glob(f"*.{form}"))
        assert len(given) == len(PROJECTS)
        subprocess.run([pip, "install", "--quiet", "--no-deps", *given], check=True)
        site = next((tmp_path / form).glob("lib/python*/site-packages"))
        files[form] = sorted(
            str(path.relative_to(site))
            for name in ("sealane", "sealane_agent", "sealane_manager")
            for path in (site / name).rglob("*")
            if path.suffix != ".pyc"
        )
        # What they depend on is tested already; here they themselves are
        (site / "others.pth").write_text(f"{sysconfig.get_paths()['purelib']}\n")
        subprocess.run([pip.with_name("python"), "-c", USE], check=True)
        for program in ("sealane", "sealane-agent"):
            subprocess.run(
                [pip.with_name(program), "--help"], stdout=subprocess.DEVNULL, check=True
            )
    assert files["whl"] == files["tar.gz"]
    assert len(files["whl"]) > 400


def make_environment(folder: Path) -> Path:
    """A new virtual environment; returns its pip."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder / "bin" / "pip"
