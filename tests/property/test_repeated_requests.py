"""Whatever is remembered of a request, the next one is read as if it were the first."""

from __future__ import annotations

import json
from itertools import product
from typing import Any, NoReturn

from hypothesis import example, given
from hypothesis import strategies as st
from sealane.bundle.types import DataType
from sealane_agent.oip.http_reader import (
    HEADS,
    LARGE_BYTES,
    Budget,
    Heads,
    HttpRefused,
    Request,
    RequestReader,
)
from sealane_agent.oip.rest_codec import Computed, RestInference, decode_infer
from sealane_agent.oip.rest_codec import encode_infer as encode
from sealane_agent.oip.rest_plans import PLANS, Answers, Plans
from sealane_agent.serving.types import InvalidInference, Tensor

names = st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=6)
headers = st.dictionaries(names, names, max_size=3)
bodies = st.binary(max_size=40)
ids = st.none() | st.text(max_size=6)


def request_bytes(path: str, named: dict[str, str], body: bytes) -> bytes:
    lines = [f"POST /{path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items())]
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@given(names, headers, st.lists(bodies, min_size=1, max_size=5), st.integers(1, 80))
def test_a_known_head_is_read_as_an_unknown_one(
    path: str, named: dict[str, str], contents: list[bytes], cut: int
) -> None:
    heads, budget = Heads(), Budget(10_000)
    for body in contents:
        data = request_bytes(path, named, body)
        whole, parts = (data,), (data[:cut], data[cut:])
        for pieces in (whole, parts, (data + data,), whole * 3, whole + parts + whole):
            known = RequestReader(budget, heads)
            fresh = RequestReader(Budget())
            read = [item for piece in pieces for item in known.feed(piece)]
            assert read == [item for piece in pieces for item in fresh.feed(piece)]
            for item in read:
                assert isinstance(item, Request)
                budget.give(len(item.body))
    assert budget._left == 10_000


@given(
    st.lists(st.integers(LARGE_BYTES - 1, LARGE_BYTES + 1), min_size=2, max_size=4),
    st.lists(st.integers(1, 3 * LARGE_BYTES), max_size=4),
    st.booleans(),
)
@example([LARGE_BYTES - 1] * 2, [LARGE_BYTES + 43], False)  # noqa: FBT003 - by position, as drawn
def test_a_large_body_is_the_same_however_it_came(
    sizes: list[int],
    cuts: list[int],
    placed: bool,  # noqa: FBT001 - drawn
) -> None:
    budget = Budget(10 * LARGE_BYTES)
    reader, fresh = RequestReader(budget, Heads()), RequestReader(Budget())
    bodies = [bytes([number]) * size for number, size in enumerate(sizes)]
    data = b"".join(request_bytes("a", {}, body) for body in bodies)
    read: list[Request | HttpRefused] = []
    at = 0
    for cut in (*sorted(cuts), len(data)):
        piece, at = data[at:cut], max(at, min(cut, len(data)))
        while placed and reader.room is not None and piece:
            count = min(len(piece), len(reader.room))
            reader.room[:count] = piece[:count]
            read += reader.filled(count)
            piece = piece[count:]
        read += reader.feed(piece)
    assert read == fresh.feed(data)
    for item in read:
        assert isinstance(item, Request)
        budget.give(len(item.body))
    assert budget._left == 10 * LARGE_BYTES


def test_a_large_body_that_never_ends_gives_its_bytes_back() -> None:
    heads, budget = Heads(), Budget(3 * LARGE_BYTES)
    data = request_bytes("a", {}, bytes(LARGE_BYTES))
    RequestReader(Budget(), heads).feed(data)
    reader = RequestReader(budget, heads)
    assert reader.feed(data[:100]) == []
    assert reader.room is not None
    assert len(reader.room) == len(data) - 100
    reader.drop()
    assert budget._left == 3 * LARGE_BYTES


def test_heads_that_differ_do_not_grow_without_bounds() -> None:
    heads = Heads()
    reader = RequestReader(Budget(), heads)
    for number in range(2 * HEADS):
        reader.feed(request_bytes(f"a{number}", {}, b"x"))
    assert len(heads.known) == HEADS


def test_a_known_head_obeys_the_budget() -> None:
    heads, data = Heads(), request_bytes("a", {}, b"12345")
    RequestReader(Budget(), heads).feed(data)
    (refused,) = RequestReader(Budget(4), heads).feed(data)
    assert isinstance(refused, HttpRefused)
    assert refused.status == 503


def test_a_head_that_comes_again_on_a_connection_obeys_the_budget() -> None:
    data = request_bytes("a", {}, b"12345")
    reader = RequestReader(Budget(14), Heads())
    first, again = (reader.feed(data) for _ in range(2))
    assert first == again
    (refused,) = reader.feed(data)
    assert isinstance(refused, HttpRefused)
    assert refused.status == 503
    assert reader.feed(data) == []


def body_of(request_id: str | None, rows: int, tail: bytes, wanted: bool) -> tuple[bytes, int]:  # noqa: FBT001 - drawn
    fields: dict[str, Any] = {} if request_id is None else {"id": request_id}
    size = {"binary_data_size": rows * 4}
    fields["inputs"] = [{"name": "x", "datatype": "FP32", "shape": [rows, 1], "parameters": size}]
    fields["parameters"] = {"binary_data_output": wanted}
    head = json.dumps(fields).encode()
    return head + tail[: rows * 4].ljust(rows * 4, b"\1"), len(head)


def read(plans: Plans, body: bytes, length: int) -> RestInference:
    return plans.find(body, length) or plans.read(body, length, nowhere)


def nowhere(name: str) -> NoReturn:
    raise InvalidInference(name)


def seen(read: RestInference) -> tuple[Any, ...]:
    inputs = [(t.name, t.datatype, t.shape, bytes(t.data)) for t in read.inference.inputs]
    wish = (dict(read.asked.wish.binary), read.asked.wish.binary_default)
    return inputs, read.inference.outputs, read.asked.request_id, wish


@given(st.lists(st.tuples(ids, st.integers(1, 3), bodies, st.booleans()), min_size=1, max_size=8))
def test_a_known_form_is_decoded_as_an_unknown_one(
    asked: list[tuple[str | None, int, bytes, bool]],
) -> None:
    plans = Plans()
    for each in asked:
        body, length = body_of(*each)
        assert seen(read(plans, body, length)) == seen(decode_infer(body, length))


@given(st.lists(st.tuples(ids, st.integers(1, 3), st.booleans()), min_size=1, max_size=8))
def test_a_known_answer_is_encoded_as_an_unknown_one(
    asked: list[tuple[str | None, int, bool]],
) -> None:
    plans, answers = Plans(), Answers()
    for turn, (request_id, rows, wanted) in product((0, 1), asked):
        request = read(plans, *body_of(request_id, rows, b"", wanted))
        outputs = (Tensor("y", DataType.FP32, (rows, 1), b"\2\0\0\0" * rows),)
        for arm in (None, "active", "candidate"):
            model = Computed("cam", 3, arm)
            plain = encode(model, request.asked, outputs)
            known = answers.find(model, request, outputs)
            if known is not None:
                said = known.with_id(request_id) if request_id else known.json
                assert said == plain.parts[0]
            elif request_id is None and turn:
                assert plain.json_bytes is None


def test_forms_that_differ_do_not_grow_without_bounds() -> None:
    plans = Plans()
    for number in range(2 * PLANS):
        fields = {"inputs": [], "parameters": {"n": number}}
        head = json.dumps(fields).encode()
        read(plans, head, len(head))
    assert len(plans._known) == PLANS
