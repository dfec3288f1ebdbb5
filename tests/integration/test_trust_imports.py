"""What a device's supervisor loads when it verifies."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import sys
import sealane.trust.identity, sealane.trust.token, sealane.trust.verifier
print(sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_the_verifier_imports_no_numpy_and_no_runtime() -> None:
    output = subprocess.run(
        [sys.executable, "-c", _PROGRAM], check=True, capture_output=True, text=True
    ).stdout
    assert "'tuf'" in output
    for heavy in ("numpy", "onnxruntime", "openvino", "sqlmodel", "grpc"):
        assert f"'{heavy}'" not in output
