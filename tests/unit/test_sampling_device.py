"""Samples on the device: chosen, shaped, sealed, within a budget, and never when it says so."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sealane.bundle.types import DataType, TensorSpec
from sealane.sampling.sealed import SAMPLE_BYTES, read_label, unseal
from sealane.sampling.types import InputTerms, Trigger
from sealane.telemetry.types import Arm, ErrorKind
from sealane_agent.errors import Refused, Unreachable
from sealane_agent.layout import StateFolder
from sealane_agent.sampling import keeping
from sealane_agent.sampling.keeping import Samples
from sealane_agent.sampling.orders import Order, decode, encode
from sealane_agent.sampling.sending import SampleSending
from sealane_agent.serving.recorder import Key, Series
from sealane_agent.serving.sampler import Sampling
from sealane_agent.serving.shaping import shaped, shrunk
from sealane_agent.serving.types import Inference, Tensor
from support.bundles import tiny_deployment
from support.samples import CAM, KEY, PUBLIC, SECRET, a_label, a_sample, some_terms
from support.telemetry import START

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sealane_agent.serving.sampler import Sampler

RELEASE = "vision/defect@7"
DAY = 86_400


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    return StateFolder(tmp_path)


@pytest.fixture
def samples(folder: StateFolder) -> Samples:
    return Samples(folder)


# Keeping


def test_a_sample_waits_until_it_is_taken_away(samples: Samples) -> None:
    assert samples.keep(a_sample(), 10_000, START)
    assert samples.keep(a_sample(taken=START - 5), 10_000, START)
    older, newer = (read_label(path.read_bytes()) for path in samples.waiting())
    assert (older.taken, newer.taken) == (START - 5, START)


def test_the_device_cannot_read_what_it_kept(samples: Samples, folder: StateFolder) -> None:
    samples.keep(a_sample(), 10_000, START)
    everything = b"".join(path.read_bytes() for path in folder.root.rglob("*") if path.is_file())
    assert SECRET not in everything
    assert SECRET in unseal(samples.waiting()[0].read_bytes(), KEY)[1][0].data


def test_a_budget_is_of_a_day_and_holds_over_restarts_and_deliveries(folder: StateFolder) -> None:
    size = len(a_sample())
    for _ in range(3):
        assert Samples(folder).keep(a_sample(), 3 * size, START)
        Samples(folder).clear()
    assert not Samples(folder).keep(a_sample(), 3 * size, START)
    assert Samples(folder).keep(a_sample(slot="side"), 3 * size, START)
    assert Samples(folder).keep(a_sample(), 3 * size, START + DAY)


def test_what_was_spent_is_written_before_the_sample(samples: Samples, folder: StateFolder) -> None:
    samples.keep(a_sample(), 10_000, START)
    spent = json.loads((folder.samples / "spent.json").read_bytes())
    assert spent == {"day": START // DAY, "slots": {"cam": len(a_sample())}}


def test_a_damaged_account_is_begun_anew_and_still_bounded(
    samples: Samples, folder: StateFolder
) -> None:
    folder.samples.mkdir()
    (folder.samples / "spent.json").write_text('{"day": "x"')
    assert samples.keep(a_sample(), len(a_sample()), START)
    assert not samples.keep(a_sample(), len(a_sample()), START)


def test_a_full_folder_takes_nothing_more(samples: Samples, folder: StateFolder) -> None:
    folder.samples.mkdir()
    with (folder.samples / "0-big.sample").open("wb") as file:
        file.truncate(keeping.WAITING_BYTES)
    assert not samples.keep(a_sample(), 10_000, START)


def test_a_sample_that_is_too_large_is_not_kept(samples: Samples) -> None:
    assert not samples.keep(a_sample(bytes(SAMPLE_BYTES)), 2**30, START)


def test_samples_whose_time_is_over_are_deleted(samples: Samples) -> None:
    samples.keep(a_sample(keep_until=START + 10), 10_000, START)
    samples.keep(a_sample(), 10_000, START)
    assert samples.sweep(START + 9) == 0
    assert samples.sweep(START + 10) == 1
    assert len(samples.waiting()) == 1


def test_a_damaged_sample_is_deleted(samples: Samples) -> None:
    samples.keep(a_sample(), 10_000, START)
    samples.waiting()[0].write_bytes(b"SLS1 nothing")
    assert samples.sweep(START) == 1


# Never


def test_never_keeps_nothing_and_deletes_what_waits(samples: Samples, folder: StateFolder) -> None:
    samples.keep(a_sample(), 10_000, START)
    folder.never_sample.touch()
    assert not samples.keep(a_sample(), 10_000, START)
    assert samples.sweep(START) == 1
    assert samples.waiting() == ()


def test_never_may_be_any_kind_of_file(samples: Samples, folder: StateFolder) -> None:
    folder.never_sample.symlink_to("/nowhere")
    assert samples.forbidden
    folder.never_sample.unlink()
    folder.never_sample.mkdir()
    assert samples.forbidden


# Sending


class Manager:
    """Takes samples, or does not."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.answer: Exception | None = None

    def take(self, sealed: bytes) -> None:
        if self.answer is not None:
            raise self.answer
        self.got.append(sealed)


def look(samples: Samples, manager: Manager, at: int = START) -> None:
    sending = SampleSending(samples, manager.take, lambda *_, **__: None)
    asyncio.run(sending.look(lambda: datetime.fromtimestamp(at, UTC)))


def test_what_the_manager_took_is_deleted_and_what_it_refused_too(samples: Samples) -> None:
    manager = Manager()
    samples.keep(a_sample(), 10_000, START)
    look(samples, manager)
    assert (len(manager.got), samples.waiting()) == (1, ())

    samples.keep(a_sample(), 10_000, START)
    manager.answer = Refused("not ordered")
    look(samples, manager)
    assert samples.waiting() == ()


def test_what_could_not_be_sent_waits(samples: Samples) -> None:
    manager = Manager()
    manager.answer = Unreachable("away")
    samples.keep(a_sample(), 10_000, START)
    with pytest.raises(Unreachable):
        look(samples, manager)
    assert len(samples.waiting()) == 1


def test_never_sends_nothing(samples: Samples, folder: StateFolder) -> None:
    manager = Manager()
    samples.keep(a_sample(), 10_000, START)
    folder.never_sample.touch()
    look(samples, manager)
    assert manager.got == []
    assert samples.waiting() == ()


# Shaping


def tensor(values: Any, name: str = "x", datatype: DataType = DataType.FP32) -> Tensor:
    array = np.array(values, {DataType.FP32: np.float32, DataType.UINT8: np.uint8}[datatype])
    return Tensor(name, datatype, array.shape, array.tobytes())


def test_inputs_that_nobody_allowed_and_columns_that_were_dropped_are_not_there() -> None:
    terms = some_terms(inputs={"x": InputTerms((2, 0))})
    (kept,) = shaped(terms, [tensor([[1, 2, 3], [4, 5, 6]]), tensor([[7.0]], "name")], [])
    assert (kept.name, kept.shape) == ("x", (2, 2))
    assert np.frombuffer(kept.data, np.float32).tolist() == [3, 1, 6, 4]


def test_an_image_becomes_the_means_of_its_squares() -> None:
    image = np.zeros((1, 4, 6, 3), np.uint8)
    image[0, :2, :2] = 100
    terms = some_terms(inputs={"x": InputTerms((), 2)})
    (kept,) = shaped(terms, [tensor(image, datatype=DataType.UINT8)], [])
    assert kept.shape == (1, 2, 3, 3)
    small = np.frombuffer(kept.data, np.uint8).reshape(kept.shape)
    assert small[0, 0, 0].tolist() == [100, 100, 100]
    assert small[0, 1:].max() == 0


@pytest.mark.parametrize(
    ("shape", "side", "small"),
    [
        ((2, 9, 9), 4, (2, 2, 2)),
        ((1, 3, 64, 64), 8, (1, 3, 8, 8)),
        ((1, 64, 64, 1), 8, (1, 8, 8, 1)),
        ((1, 2, 2), 8, (1, 1, 1)),
    ],
)
def test_images_of_every_form_shrink(
    shape: tuple[int, ...], side: int, small: tuple[int, ...]
) -> None:
    assert shrunk(np.ones(shape), side).shape == small


def test_answers_are_kept_unless_they_are_large() -> None:
    small, large = tensor([[0.5, 0.5]], "y"), tensor(np.zeros((1, 20_000)), "map")
    kept = shaped(some_terms(), [], [small, large])
    assert [(part.kind, part.name) for part in kept] == [("output", "y")]


# Choosing


@pytest.fixture
def sampling(folder: StateFolder) -> Iterator[Sampling]:
    made = Sampling(folder)
    order(folder, made)
    yield made
    made.close()


def order(folder: StateFolder, sampling: Sampling, **changes: Any) -> None:
    """Write orders, and let the endpoint read them."""
    fields = {"release": RELEASE, "key": PUBLIC, "until": int(time.time()) + 60, "shift": 0}
    folder.sampling.write_bytes(encode({"cam": Order(**fields | changes)}))  # type: ignore[arg-type]  # a test names the fields it changes
    sampling._orders = sampling._read()


def sampler(sampling: Sampling, **changes: Any) -> Sampler:
    outputs = (TensorSpec("y", DataType.FP32, (-1, 2)),)
    deployment = replace(tiny_deployment(), sampling=some_terms(**changes), outputs=outputs)
    found = sampling.of(CAM, RELEASE, deployment)
    assert found is not None
    return found


REQUEST = Inference((tensor([[1, 2, 3, 4]]),))


def answer(sure: float) -> tuple[Tensor, ...]:
    return (tensor([[sure, 1 - sure]], "y"),)


def kept(folder: StateFolder) -> list[Trigger]:
    return [read_label(path.read_bytes()).trigger for path in Samples(folder).waiting()]


def test_a_release_without_terms_has_no_sampler(sampling: Sampling) -> None:
    assert sampling.of(CAM, RELEASE, tiny_deployment()) is None


def test_each_nth_request_is_kept_once_a_second_at_most(
    sampling: Sampling, folder: StateFolder
) -> None:
    watched = sampler(sampling, every=3)
    for number in range(9):
        watched.answered(number / 10, REQUEST, answer(1.0))
        sampling.settled()
    assert kept(folder) == [Trigger.EVERY]
    for number in range(3):
        watched.answered(10 + number, REQUEST, answer(1.0))
        sampling.settled()
    assert kept(folder) == [Trigger.EVERY] * 2


def test_an_unsure_answer_is_kept_and_a_sure_one_is_not(
    sampling: Sampling, folder: StateFolder
) -> None:
    watched = sampler(sampling, every=0, confidence_below=0.6)
    watched.answered(1, REQUEST, answer(0.9))
    assert not sampling.settled()
    watched.answered(2, REQUEST, (tensor([[5.0, -3.0]], "y"),))  # no probabilities
    assert not sampling.settled()
    watched.answered(3, REQUEST, answer(0.55))
    assert sampling.settled()
    assert kept(folder) == [Trigger.UNSURE]
    _, parts = unseal(Samples(folder).waiting()[0].read_bytes(), KEY)
    assert [part.name for part in parts] == ["x", "y"]


def test_a_fault_of_the_release_is_kept_and_one_of_the_client_is_not(
    sampling: Sampling, folder: StateFolder
) -> None:
    watched = sampler(sampling, every=0, errors=True)
    watched.failed(ErrorKind.REFUSED, REQUEST)
    watched.failed(ErrorKind.CANCELLED, REQUEST)
    assert not sampling.settled()
    watched.failed(ErrorKind.CRASHED, REQUEST)
    assert sampling.settled()
    assert kept(folder) == [Trigger.ERROR]


def test_while_inputs_drift_requests_are_kept_within_the_same_budget_where_the_terms_say_so(
    sampling: Sampling, folder: StateFolder
) -> None:
    watched = sampler(sampling, every=0, drift=True, bytes_per_day=1500)
    watched.answered(1, REQUEST, answer(1.0))
    assert not sampling.settled()
    order(folder, sampling, drift=True)
    for number in range(2, 20):
        watched.answered(number, REQUEST, answer(1.0))
        sampling.settled()
    found = kept(folder)
    assert set(found) == {Trigger.DRIFT}
    assert 0 < sum(path.stat().st_size for path in Samples(folder).waiting()) <= 1500
    silent = sampler(sampling, every=0)
    silent.answered(100, REQUEST, answer(1.0))
    assert kept(folder) == found


def test_a_copy_that_is_answered_otherwise_is_kept_where_the_terms_say_so(
    sampling: Sampling, folder: StateFolder
) -> None:
    for wanted, trigger in ((False, []), (True, [Trigger.DISAGREEMENT])):
        series = Series(Key(CAM, RELEASE, Arm.SHADOW), lambda _: None, sampling)
        terms = some_terms(every=0, disagreement=wanted)
        series.understand(replace(tiny_deployment(), sampling=terms))
        series.answer(1.0, 0.001, REQUEST, answer(0.9))
        series.doubt(REQUEST, answer(0.9))
        sampling.settled()
        assert kept(folder) == trigger


def test_no_other_arm_is_asked_for_what_it_doubts(sampling: Sampling) -> None:
    series = Series(Key(CAM, RELEASE, Arm.ACTIVE), lambda _: None, sampling)
    terms = some_terms(every=0, disagreement=True)
    series.understand(replace(tiny_deployment(), sampling=terms))
    series.doubt(REQUEST, answer(0.9))
    assert not sampling.settled()


def test_never_stands_above_drift_and_disagreement(sampling: Sampling, folder: StateFolder) -> None:
    folder.never_sample.touch()
    order(folder, sampling, drift=True)
    watched = sampler(sampling, every=0, drift=True, disagreement=True)
    watched.answered(1, REQUEST, answer(1.0))
    assert not sampling.settled()
    watched.disagreed(REQUEST, answer(1.0))
    assert not sampling.settled()
    assert kept(folder) == []


@pytest.mark.parametrize("changes", [{"release": "vision/defect@8"}, {"until": 5}, {"shift": 3600}])
def test_an_order_of_another_release_or_one_that_is_over_keeps_nothing(
    sampling: Sampling, folder: StateFolder, changes: dict[str, Any]
) -> None:
    order(folder, sampling, **changes)
    sampler(sampling).answered(1, REQUEST, answer(1.0))
    assert not sampling.settled()
    assert kept(folder) == []


def test_without_an_order_nothing_is_kept(sampling: Sampling, folder: StateFolder) -> None:
    folder.sampling.unlink()
    sampling._orders = sampling._read()
    sampler(sampling).answered(1, REQUEST, answer(1.0))
    assert not sampling.settled()


def test_a_disk_that_takes_nothing_costs_the_sample_alone(
    sampling: Sampling, folder: StateFolder
) -> None:
    folder.samples.write_text("in the way")
    sampler(sampling).answered(1, REQUEST, answer(1.0))
    assert not sampling.settled()


def test_damaged_orders_are_none() -> None:
    for content in (b"", b"{", b"[]", b'{"cam": 1}', b'{"cam": {"key": "00"}}'):
        assert decode(content) == {}
    label = a_label()
    found = {
        "cam": Order(label.release, PUBLIC, 7, -3),
        "side": Order(label.release, PUBLIC, 7, -3, drift=True),
    }
    assert decode(encode(found)) == found
