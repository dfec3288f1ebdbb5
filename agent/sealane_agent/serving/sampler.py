"""Decides which requests become samples, and hands them to a thread that shapes, seals and keeps.

A request costs nothing here unless the release has terms and the director ordered samples; then it
costs a count, and what looking at its confidence takes. At most one sample a second leaves a slot.
"""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from sealane.errors import SealaneError
from sealane.sampling.sealed import SAMPLE_BYTES, Label, seal
from sealane.sampling.types import Trigger
from sealane.telemetry.types import ErrorKind

from sealane_agent.sampling.keeping import Samples
from sealane_agent.sampling.orders import decode
from sealane_agent.serving.folding import SUM_TOLERANCE, class_output
from sealane_agent.serving.shaping import shaped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sealane.bundle.types import Deployment
    from sealane.names import SlotName
    from sealane.sampling.types import SamplingTerms

    from sealane_agent.layout import StateFolder
    from sealane_agent.sampling.orders import Order
    from sealane_agent.serving.folding import ClassOutput
    from sealane_agent.serving.types import Inference, Tensor

LOOK_S: Final = 5.0
"""Between two looks at what the director ordered."""

LEAST_S: Final = 1.0
"""From one sample of a slot to the next."""

INPUT_BYTES: Final = 32 * SAMPLE_BYTES
"""Requests that are larger are never sampled: they are copied before they are shaped."""

FAULTS: Final = frozenset({ErrorKind.FAILED, ErrorKind.CRASHED, ErrorKind.HUNG})
"""Errors of the release; what the client did wrong is not kept."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Chosen:
    """A request that becomes a sample."""

    slot: SlotName
    trigger: Trigger
    terms: SamplingTerms
    order: Order
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class Sampling:
    """All samplers of one endpoint, and the thread that keeps what they choose."""

    def __init__(self, folder: StateFolder) -> None:
        self._orders_file = folder.sampling
        self._samples = Samples(folder)
        self._orders: Mapping[str, Order] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="samples")
        self._busy: Future[bool] | None = None

    async def run(self) -> None:
        """Follow the orders until cancelled."""
        while True:
            self._orders = await asyncio.to_thread(self._read)
            await asyncio.sleep(LOOK_S)

    def close(self) -> None:
        """Finish the sample at hand."""
        self._thread.shutdown()

    def of(self, slot: SlotName, release: str, deployment: Deployment) -> Sampler | None:
        """What samples this release in this slot; None when its terms let nothing be kept."""
        if deployment.sampling is None:
            return None
        return Sampler(self, (slot, release), deployment.sampling, class_output(deployment))

    def is_ordered(self, slot: SlotName) -> bool:
        """Whether there may be an order: asked for every request."""
        return slot in self._orders

    def drifts(self, slot: SlotName) -> bool:
        """Whether the manager sees what the slot is given drift."""
        return self._orders[slot].drift

    def order(self, slot: SlotName, release: str) -> Order | None:
        """The order that holds now."""
        order = self._orders.get(slot)
        if order is None or order.release != release or _now(order) >= order.until:
            return None
        return order

    def take(self, chosen: Chosen) -> bool:
        """Keep a sample unless the one before is still being kept."""
        if self._busy is not None and not self._busy.done():
            return False
        self._busy = self._thread.submit(self._keep, chosen)
        return True

    def settled(self) -> bool:
        """Wait for the sample at hand; whether it was kept."""
        return self._busy is not None and self._busy.result()

    def _read(self) -> Mapping[str, Order]:
        try:
            return decode(self._orders_file.read_bytes())
        except OSError:
            return {}

    def _keep(self, chosen: Chosen) -> bool:
        try:
            return keep(self._samples, chosen, _now(chosen.order))
        except (OSError, ValueError, SealaneError) as error:
            _log.warning("a sample of %s was not kept: %s", chosen.slot, error)
            return False


def keep(samples: Samples, chosen: Chosen, now: int) -> bool:
    """Shape, seal and keep; whether it was kept. Raises OSError, ValueError or SealaneError."""
    if samples.forbidden:
        return False
    terms = chosen.terms
    label = Label(chosen.slot, chosen.order.release, chosen.trigger, now, now + terms.seconds_kept)
    sealed = seal(label, shaped(terms, chosen.inputs, chosen.outputs), chosen.order.key)
    return samples.keep(sealed, terms.bytes_per_day, now)


class Sampler:
    """Watches the requests of one release in one slot."""

    def __init__(
        self,
        sampling: Sampling,
        where: tuple[SlotName, str],
        terms: SamplingTerms,
        output: ClassOutput | None,
    ) -> None:
        self._sampling, self._where = sampling, where
        self._terms, self._output = terms, output
        self._count = 0
        self._next = 0.0

    def answered(self, now: float, inference: Inference, tensors: tuple[Tensor, ...]) -> None:
        """A request was answered; `now` is `perf_counter`."""
        self._count += 1
        if now < self._next or not self._sampling.is_ordered(self._where[0]):
            return
        terms = self._terms
        if terms.every and self._count >= terms.every:
            self._take(now, Trigger.EVERY, inference.inputs, tensors)
        elif terms.confidence_below and self._is_unsure(tensors):
            self._take(now, Trigger.UNSURE, inference.inputs, tensors)
        elif terms.drift and self._sampling.drifts(self._where[0]):
            self._take(now, Trigger.DRIFT, inference.inputs, tensors)

    def failed(self, kind: ErrorKind, inference: Inference) -> None:
        """The release did not answer a request."""
        now = time.perf_counter()
        if self._terms.errors and kind in FAULTS and now >= self._next:
            self._take(now, Trigger.ERROR, inference.inputs, ())

    def disagreed(self, inference: Inference, tensors: tuple[Tensor, ...]) -> None:
        """The release answered a copy otherwise than the one before it."""
        now = time.perf_counter()
        if self._terms.disagreement and now >= self._next:
            self._take(now, Trigger.DISAGREEMENT, inference.inputs, tensors)

    def _is_unsure(self, tensors: tuple[Tensor, ...]) -> bool:
        output = self._output
        if output is None:
            return False
        for tensor in tensors:
            if tensor.name == output.name and len(tensor.data):
                rows = np.frombuffer(tensor.data, output.datatype).reshape(-1, output.classes)
                sums = rows.sum(axis=1, dtype=np.float64)
                sure = rows.max(axis=1) >= self._terms.confidence_below
                return bool(np.any(~sure & (np.abs(sums - 1) <= SUM_TOLERANCE)))
        return False

    def _take(
        self, now: float, trigger: Trigger, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]
    ) -> None:
        slot, release = self._where
        order = self._sampling.order(slot, release)
        self._next = now + LEAST_S
        if order is None or sum(len(each.data) for each in inputs) > INPUT_BYTES:
            return
        kept = tuple(each._replace(data=bytes(each.data)) for each in inputs)
        if self._sampling.take(Chosen(slot, trigger, self._terms, order, kept, outputs)):
            self._count = 0


def _now(order: Order) -> int:
    """Trusted time, as far as the supervisor knew it."""
    return int(time.time()) + order.shift
