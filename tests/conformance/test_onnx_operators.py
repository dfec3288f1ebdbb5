"""The ONNX project's own operator tests, served: each is answered as that project says.

Every sixth one here, all of them where there is time (`.ci/extended`). What is not served is listed
with its reason in `onnx_unsupported.txt`; nothing else may fail.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support.operator_list import RUNTIMES, listed, unserved
from support.operators import all_cases

if TYPE_CHECKING:
    from pathlib import Path

STEP = 1 if os.environ.get("SEALANE_EXTENDED") else 6
LEAST_SERVED = 200


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_operators_answer_through_a_served_model_as_the_onnx_project_says(
    runtime: str, tmp_path: Path
) -> None:
    tests = all_cases()[::STEP]
    failed = unserved(tests, runtime, tmp_path)
    known = listed()[runtime]
    assert {case: why for case, why in failed.items() if case not in known} == {}
    assert len(tests) - len(failed) >= LEAST_SERVED


def test_what_is_not_served_has_a_reason_and_is_a_case() -> None:
    names = {test.name for test in all_cases()}
    for known in listed().values():
        assert set(known) <= names
        assert all(known.values())
