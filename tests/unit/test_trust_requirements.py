"""What a release may require of a device."""

from __future__ import annotations

from typing import Any

import pytest
from sealane.trust.requirements import unmet
from support.trust import FACTS


@pytest.mark.parametrize(
    "requires",
    [
        {},
        {"arch": ["aarch64", "x86_64"]},
        {"os": ["linux"]},
        {"runtime": ["onnxruntime"]},
        {"runtime": ["openvino", "onnxruntime"], "accelerator": ["cpu", "gpu"]},
        {"cpus": 4, "memory_bytes": 2**32},
    ],
)
def test_a_device_that_has_what_is_required_meets_it(requires: dict[str, Any]) -> None:
    assert unmet(requires, FACTS) is None


@pytest.mark.parametrize(
    ("requires", "complaint"),
    [
        ({"arch": ["aarch64"]}, "requires arch aarch64, the device has x86_64"),
        ({"arch": []}, "requires arch"),
        ({"runtime": ["openvino"]}, "requires runtime openvino, the device has onnxruntime"),
        ({"memory_bytes": 2**33}, "requires memory_bytes"),
        ({"cpus": True}, "in no form"),
        ({"cpus": "4"}, "in no form"),
        ({"arch": "x86_64"}, "in no form"),
        ({"arch": [1]}, "in no form"),
        ({"gpu_memory": 1}, "'gpu_memory', which this agent does not know"),
        ({"": 1}, "which this agent does not know"),
    ],
)
def test_a_requirement_that_is_not_met_says_why(requires: dict[str, Any], complaint: str) -> None:
    assert complaint in (unmet(requires, FACTS) or "")


def test_an_unknown_requirement_is_never_met_beside_known_ones() -> None:
    assert unmet({"arch": ["x86_64"], "zone": ["a"]}, FACTS) is not None
