"""What is decided about accelerators, from what engines and drivers say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealane_agent.runtimes.base import AcceleratorFailed, obstacle
from sealane_agent.runtimes.cuda import DriverReading, judge_driver, judge_library
from sealane_agent.runtimes.faults import accelerator_fault
from sealane_agent.runtimes.placement import ON_SHAPES, misplaced

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


def test_arithmetic_on_shapes_may_lie_on_the_processor() -> None:
    nodes = [(CUDA, "Conv"), (CPU, "Shape"), (CPU, "Gather"), (CPU, "Concat"), (CUDA, "Reshape")]
    assert misplaced(nodes, CUDA) == ""


def test_what_computes_is_named_with_its_count() -> None:
    nodes = [(CUDA, "Conv"), *[(CPU, "NonMaxSuppression")] * 2, (CPU, "Shape")]
    assert misplaced(nodes, CUDA) == "NonMaxSuppression (2)"
    many = [(CUDA, "Conv"), *((CPU, each) for each in ("Gemm", "LSTM", "Softmax", "Erf", "Tanh"))]
    assert misplaced(many, CUDA).endswith("and 2 more")


@given(st.lists(st.sampled_from(sorted(ON_SHAPES))))
def test_a_model_that_lies_wholly_elsewhere_is_misplaced(operators: list[str]) -> None:
    assert misplaced(((CPU, each) for each in operators), CUDA) == "the whole model"


@given(st.lists(st.tuples(st.sampled_from([CUDA, CPU]), st.sampled_from(["Conv", "Shape"]))))
def test_no_computing_node_elsewhere_goes_unnoticed(nodes: list[tuple[str, str]]) -> None:
    well = misplaced(nodes, CUDA) == ""
    assert well == ((CPU, "Conv") not in nodes and any(where == CUDA for where, _ in nodes))


@pytest.mark.parametrize(
    ("code", "cards", "says"),
    [
        (None, 0, "not installed"),
        (0, 0, "no card"),
        (100, 0, "no card"),
        (803, 0, "different versions"),
        (46, 0, "busy"),
        (4711, 0, "4711"),
    ],
)
def test_each_answer_of_a_driver_says_what_to_do(code: int | None, cards: int, says: str) -> None:
    found = judge_driver(DriverReading(code, cards))
    assert found is not None
    assert says in str(found)
    assert found.hint


@pytest.mark.parametrize(("version", "well"), [(13000, True), (14010, True), (12080, False)])
def test_a_driver_must_be_for_the_engines_cuda_or_a_later_one(version: int, *, well: bool) -> None:
    found = judge_driver(DriverReading(0, 1, version), needs=13)
    assert (found is None) is well
    if found is not None:
        assert "for CUDA 12.8 at most, the engine needs 13" in str(found)


def test_a_linkers_complaint_names_the_library_or_the_driver() -> None:
    lib = judge_library("libcublasLt.so.13: cannot open shared object file: No such file")
    assert str(lib).endswith("lacks the library libcublasLt.so.13")
    old = judge_library("/x/libonnxruntime_providers_cuda.so: undefined symbol: cuTensorMapEncode")
    assert str(old).endswith("it has no cuTensorMapEncode")
    assert "newer" in old.hint


def test_an_unknown_number_is_told_in_the_engines_words() -> None:
    told = "Parse Failed\nCUDA failure 77: something odd ; GPU=-1 ; hostname=x"
    assert "77, something odd" in str(accelerator_fault(RuntimeError(told)))


def test_a_driver_that_has_a_card_is_in_nobodys_way() -> None:
    assert judge_driver(DriverReading(0, 2)) is None


@pytest.mark.parametrize(
    "text",
    [
        "[ONNXRuntimeError] : 1 : FAIL : unknown operator",
        "Got invalid dimensions for input: x for the following indices",
        "CUDNN_STATUS_BAD_PARAM",
        "",
    ],
)
def test_what_a_model_or_a_request_did_is_not_put_on_the_accelerator(text: str) -> None:
    assert accelerator_fault(RuntimeError(text)) is None


@pytest.mark.parametrize(
    "text",
    [
        "CUDA failure 2: out of memory ; GPU=0",
        "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0",
        "void* onnxruntime::BFCArena::AllocateRawInternal(size_t)\nFailed to allocate memory for 4",
        "[GPU] CL_MEM_OBJECT_ALLOCATION_FAILURE",
        "ZE_RESULT_ERROR_OUT_OF_DEVICE_MEMORY",
    ],
)
def test_full_memory_is_known_by_every_engines_words(text: str) -> None:
    assert isinstance(accelerator_fault(RuntimeError(text)), MemoryError)


@given(st.integers(3, 10**6))
def test_any_number_of_cuda_is_the_accelerators_fault(number: int) -> None:
    fault = accelerator_fault(RuntimeError(f"CUDA failure {number}: x ; GPU=0"))
    assert isinstance(fault, AcceleratorFailed)
    assert fault.hint


class ThirdPartys:
    """A runtime that explains nothing."""

    def accelerators(self) -> tuple[str, ...]:
        return ("cpu", "npu")

    def load(self, *_: object) -> object:
        raise NotImplementedError


def test_a_runtime_that_explains_nothing_is_asked_for_what_it_has() -> None:
    assert obstacle(ThirdPartys(), "npu") is None  # type: ignore[arg-type] # it loads nothing here
    assert "gpu" in str(obstacle(ThirdPartys(), "gpu"))  # type: ignore[arg-type] # the same
