"""Which receipt tells others what to measure first, and how that travels."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealane import codec
from sealane.fleet import Assignment, AssignmentRequest, Winner
from sealane.limits import MEASURED_US, WINNERS_TOLD
from sealane.receipt import ROLLED_BACK
from sealane.wire.v1 import fleet_pb2 as wire
from sealane_manager.winners import VARIANT_CHARS, winner_of
from support.rollouts import MANIFEST, a_receipt

CLASS = "c" * 64
WINNER = Winner(CLASS, MANIFEST, "int8", 900)
COMPARED = a_receipt("edge-1", variant="int8", hardware=CLASS, measured_us=900)


def test_a_device_that_compared_variants_and_serves_tells_others_of_its_class() -> None:
    assert winner_of(COMPARED) == WINNER


@pytest.mark.parametrize(
    "changes",
    [
        {"hardware": ""},
        {"hardware": "C" * 64},
        {"hardware": CLASS + "\n"},
        {"hardware": "c" * 65},
        {"measured_us": 0},
        {"measured_us": MEASURED_US + 1},
        {"measured_us": 2**63 - 1},
        {"variant": ""},
        {"variant": "x" * (VARIANT_CHARS + 1)},
        {"verdict": ROLLED_BACK},
        {"degraded": "it serves on the CPU, not by gpu-fp16 on the gpu: no driver"},
    ],
)
def test_a_receipt_that_compared_nothing_or_tells_what_cannot_be_is_no_winner(
    changes: dict[str, object],
) -> None:
    fields = {"variant": "int8", "hardware": CLASS, "measured_us": 900}
    assert winner_of(a_receipt("edge-1", **(fields | changes))) is None


@given(st.text(max_size=70), st.text(max_size=200), st.integers(0, 2**63 - 1))
def test_whatever_a_receipt_claims_what_is_kept_has_a_bounded_size(
    hardware: str, variant: str, measured_us: int
) -> None:
    claims = {"hardware": hardware, "variant": variant, "measured_us": measured_us}
    winner = winner_of(a_receipt("edge-1", **claims))
    if winner is not None:
        assert len(winner.hardware) == len(CLASS)
        assert 0 < len(winner.variant) <= VARIANT_CHARS
        assert 0 < winner.latency_us <= MEASURED_US


def test_winners_travel_with_the_document_and_the_class_with_the_question() -> None:
    answer = Assignment(b"document", (b"proof",), (WINNER,))
    assert codec.manager_message_from_wire(codec.manager_message_to_wire(answer)) == answer
    question = AssignmentRequest("nonce", hardware=CLASS)
    assert codec.device_message_from_wire(codec.device_message_to_wire(question)) == question


def test_a_manager_and_a_device_from_before_say_nothing_of_it() -> None:
    document = wire.SessionResponse(assignment=wire.Assignment(document=b"document"))
    assert codec.manager_message_from_wire(document) == Assignment(b"document")
    asked = wire.SessionRequest(assignment_request=wire.AssignmentRequest(nonce="nonce"))
    assert codec.device_message_from_wire(asked) == AssignmentRequest("nonce")


def test_a_document_comes_through_whatever_comes_with_it() -> None:
    long = wire.Winner(hardware="c" * 5000, variant="v" * 5000, latency_us=2**64 - 1)
    told = [long] * (WINNERS_TOLD + 1)
    message = wire.SessionResponse(assignment=wire.Assignment(document=b"document", winners=told))
    answer = codec.manager_message_from_wire(message)
    assert isinstance(answer, Assignment)
    assert answer.document == b"document"
    assert len(answer.winners) == WINNERS_TOLD
    assert max(len(each.hardware) for each in answer.winners) == codec.WORD_CHARS


def test_a_class_with_a_long_name_is_cut_and_is_no_class() -> None:
    request = wire.AssignmentRequest(nonce="nonce", hardware="c" * 5000)
    asked = codec.device_message_from_wire(wire.SessionRequest(assignment_request=request))
    assert isinstance(asked, AssignmentRequest)
    assert len(asked.hardware) == codec.WORD_CHARS
