"""Runtimes are found by name, and told without being imported."""

from __future__ import annotations

import subprocess
import sys

import pytest
from sealane_agent.runtimes import inventory, registry
from sealane_agent.runtimes.base import RuntimeMissing, first_line


def test_an_unknown_runtime_is_missing_with_a_hint() -> None:
    with pytest.raises(RuntimeMissing, match="tensorflow") as raised:
        registry.find_runtime("tensorflow")
    assert "tensorflow" in raised.value.hint


def test_a_runtime_without_its_engine_names_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "sealane_agent.runtimes.onnxruntime", raising=False)
    with pytest.raises(RuntimeMissing) as raised:
        registry.find_runtime("onnxruntime")
    assert raised.value.hint == "pip install 'sealane-agent[onnx]'"


def test_an_engine_that_is_not_installed_is_not_in_the_inventory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inventory, "_ENGINES", {"onnxruntime": ("no-such-package",)})
    assert "onnxruntime" not in {fact.name for fact in inventory.installed_runtimes()}


def test_the_inventory_imports_no_engine_and_no_numpy() -> None:
    program = (
        "import sys\n"
        "from sealane_agent.runtimes.inventory import installed_runtimes\n"
        "assert installed_runtimes()\n"
        "print(sorted({'numpy', 'onnxruntime', 'openvino'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("message", "line"),
    [("\n  first  \nsecond", "first"), ("", "ValueError"), ("x" * 900, "x" * 300)],
)
def test_an_engines_message_is_cut_to_a_line(message: str, line: str) -> None:
    assert first_line(ValueError(message)) == line
