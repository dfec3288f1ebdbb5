"""OpenSSF's own `model_signing`, in an environment of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from support.repository import ROOT

if TYPE_CHECKING:
    from pathlib import Path

_LOCK = ROOT / "tests" / "support" / "stock_signing.lock"


@dataclass(frozen=True, slots=True)
class StockSigning:
    """The program `model_signing`."""

    program: Path

    def accepts(self, folder: Path, key: Path) -> bool:
        """Whether it finds model.sig in a folder to be by this public key, over all files."""
        signature = folder / "model.sig"
        options = ("--public_key", key, "--signature", signature)
        done = self._run("verify", "key", *options, folder)
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode == 0

    def sign(self, folder: Path, key: Path) -> Path:
        """Sign a folder with a private key, into model.sig in it."""
        signature = folder / "model.sig"
        done = self._run("sign", "key", "--private_key", key, "--signature", signature, folder)
        assert done.returncode == 0, done.stderr
        return signature

    def _run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [self.program, *arguments]
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)


def install(folder: Path) -> StockSigning:
    """Install it; skips the test where that is impossible and need not be (in CI it fails)."""
    uv = shutil.which("uv", path=f"{os.environ['PATH']}:{ROOT / '.uv' / 'bin'}") or "uv"
    python = folder / "bin" / "python"
    locked = ("--require-hashes", "--requirement", str(_LOCK))
    for command in (
        (uv, "venv", "--quiet", str(folder)),
        (uv, "pip", "install", "--quiet", "--python", str(python), *locked),
    ):
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
        except FileNotFoundError:
            _missing("uv is not installed: pip install uv")
        except subprocess.CalledProcessError as error:
            _missing(f"model_signing cannot be installed: {error.stderr.strip()}")
    return StockSigning(folder / "bin" / "model_signing")


def _missing(reason: str) -> None:
    if os.environ.get("SEALANE_DEBIAN") == "required":
        pytest.fail(reason)
    pytest.skip(reason)
