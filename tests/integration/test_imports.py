"""What a process loads for what it does: a device that verifies, an operator who asks."""

from __future__ import annotations

import subprocess
import sys

from sealane_manager.cli.main import COMMANDS

_LOADED = "; import sys; print(sorted({name.partition('.')[0] for name in sys.modules}))"
_ASK = ("alert", "audit", "device", "gate", "quarantine", "release", "rollout", "sample", "window")


def _loaded(imports: str) -> str:
    program = [sys.executable, "-c", imports + _LOADED]
    return subprocess.run(program, check=True, capture_output=True, text=True).stdout


def test_the_verifier_imports_no_numpy_and_no_runtime() -> None:
    output = _loaded("import sealane.trust.identity, sealane.trust.token, sealane.trust.verifier")
    assert "'tuf'" in output
    for heavy in ("numpy", "onnxruntime", "openvino", "sqlmodel", "grpc"):
        assert f"'{heavy}'" not in output


def test_a_question_to_a_manager_loads_nothing_that_only_its_own_machine_needs() -> None:
    assert set(_ASK) < set(COMMANDS)
    modules = ", ".join(f"sealane_manager.cli.{noun}" for noun in _ASK)
    output = _loaded(f"import sealane_manager.cli.main, {modules}")
    assert "'grpc'" in output
    for heavy in ("alembic", "fastapi", "numpy", "onnx", "sqlalchemy", "sqlmodel"):
        assert f"'{heavy}'" not in output
