"""Whatever is remembered of a gRPC message, the next one is read as if it were the first."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from sealane.bundle.types import DataType
from sealane_agent.oip.grpc_codec import Computed, encode_infer
from sealane_agent.oip.grpc_plans import PLANS, Answers, Asked, Plans, cut
from sealane_agent.oip.parameters import PLAIN
from sealane_agent.oip.wire import open_inference_pb2 as wire
from sealane_agent.serving.types import InvalidInference, ServingError, Tensor

texts = st.text(max_size=5)
ids = st.just("") | st.text(max_size=200)
tensors = st.tuples(st.sampled_from(["x", "z"]), st.integers(0, 3), st.binary(min_size=12))
examples = st.tuples(ids, texts, st.sampled_from(["", "2", "two"]), st.lists(tensors, max_size=2))


def nowhere(name: str) -> Any:
    raise InvalidInference(f"no region {name}")


def message(
    request_id: str, model: str, version: str, given: list[tuple[str, int, bytes]]
) -> wire.ModelInferRequest:
    built = wire.ModelInferRequest(model_name=model, model_version=version, id=request_id)
    for name, count, content in given:
        built.inputs.add(name=name, datatype="FP32", shape=[count])
        built.raw_input_contents.append(content[: 4 * count])
    return built


def read(plans: Plans, content: bytes) -> Any:
    try:
        model, version, request_id, (inference, wish, wanted) = plans.decode(content, nowhere)
    except ServingError as error:
        return type(error), str(error)
    inputs = [(t.name, t.datatype, t.shape, bytes(t.data)) for t in inference.inputs]
    return model, version, request_id, inputs, inference.outputs, wish.plain, wanted


@given(st.lists(examples, min_size=1, max_size=6))
def test_a_known_message_is_read_as_an_unknown_one(
    asked: list[tuple[str, str, str, list[tuple[str, int, bytes]]]],
) -> None:
    plans = Plans()
    for example in (*asked, *asked):
        content = message(*example).SerializeToString()
        assert read(plans, content) == read(Plans(), content)


@given(examples, st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=3))
def test_a_damaged_message_is_read_as_if_none_had_come_before(
    example: tuple[str, str, str, list[tuple[str, int, bytes]]], changes: list[tuple[int, int]]
) -> None:
    plans, content = Plans(), message(*example).SerializeToString()
    read(plans, content)
    damaged = bytearray(content)
    for place, value in changes:
        if damaged:
            damaged[place % len(damaged)] = value
    for each in (bytes(damaged), bytes(damaged[:-1]), bytes(damaged) + content):
        assert read(plans, each) == read(Plans(), each)


@given(st.binary(max_size=60))
def test_bytes_that_are_no_message_are_refused_or_read_alike(content: bytes) -> None:
    plans = Plans()
    assert read(plans, content) == read(plans, content) == read(Plans(), content)


def test_a_repeated_message_is_recognised_whatever_its_id() -> None:
    plans = Plans()
    for number in range(3):
        given = [("x", 2, bytes([number]) * 8)]
        found = plans.decode(message(f"{number}", "cam", "", given).SerializeToString(), nowhere)
        assert isinstance(found, Asked)
        assert (found.request_id, bytes(found.decoded.inference.inputs[0].data)) == (
            f"{number}",
            bytes([number]) * 8,
        )
        assert (found.decoded.inference.form is None) == (number == 0)


def test_an_id_that_comes_twice_is_left_to_the_parser() -> None:
    content = message("a", "cam", "", []).SerializeToString()
    assert cut(content) is not None
    assert cut(content + b"\x1a\x01b") is None


def test_messages_that_differ_do_not_grow_without_bounds() -> None:
    plans, answers = Plans(), Answers()
    for number in range(2 * PLANS):
        plans.decode(message("", f"m{number}", "", []).SerializeToString(), nowhere)
        answers.encode(Computed("cam", number), PLAIN, ())
    assert len(plans._known) == len(answers._known) == PLANS


@given(st.lists(st.tuples(ids, st.integers(0, 300), st.none() | texts), min_size=1, max_size=6))
def test_a_known_answer_is_written_as_an_unknown_one(
    asked: list[tuple[str, int, str | None]],
) -> None:
    answers = Answers()
    for request_id, rows, arm in (*asked, *asked):
        answer = Computed("cam", 3, request_id, arm)
        outputs = (Tensor("y", DataType.FP32, (rows, 1), b"\2\0\0\0" * rows),)
        written = wire.ModelInferResponse.FromString(answers.encode(answer, PLAIN, outputs))
        assert written == encode_infer(answer, outputs, PLAIN)
