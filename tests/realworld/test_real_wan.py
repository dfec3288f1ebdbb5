"""Three agents behind a bad link: 1 Mbit/s, 300 ms there and back, 2 % lost each way, and a cut.

Two of them have the release before and get a patch; the third has none and gets the whole blob, in
the middle of which its line is cut. What each received is printed.
"""

from __future__ import annotations

import json
import secrets
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from demo_story.plant import MODEL, SLOT
from demo_story.processes import wait_for
from realworld.network import Network
from realworld.wan_plant import (
    WIDE,
    WIDE_INT8,
    WanPlant,
    Weights,
    fp32_model,
    int8_model,
)
from support.stories import largest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from demo_story.models import Models
    from realworld.wan_plant import Delivery

WITH_BASE, WITHOUT = ("one", "two"), "three"
DEVICES = (*WITH_BASE, WITHOUT)
BAD = {"delay_ms": 150.0, "loss": 0.02, "rate_kbit": 1000.0}
GOOD = {"delay_ms": 0.0, "loss": 0.0, "rate_kbit": 0.0}


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[WanPlant]:
    network = Network()
    built = WanPlant(tmp_path, network, f"slw{secrets.token_hex(2)}")
    try:
        built.init()
        built.start_manager()
        for device in DEVICES:
            built.enrol(device, f"base={'no' if device == WITHOUT else 'yes'}")
            built.start_agent(device)
        built.wait_connected(len(DEVICES))
        yield built
    finally:
        built.stop()
        network.remove()


def test_a_bad_link_costs_patience_and_no_byte_twice(
    plant: WanPlant, models: Models, tmp_path: Path
) -> None:
    data = models.releases[1].data
    old = Weights.chosen(1, WIDE)
    head = replace(old, head=Weights.chosen(2, WIDE).head)
    bring_base(plant, fp32_model(tmp_path / "base.onnx", old), data, 1)
    found = over_the_link(plant, fp32_model(tmp_path / "head.onnx", head), (data, 2), cut=True)
    told("retrained head, fp32", found)
    resumed(plant)

    coarse = Weights.chosen(3, WIDE_INT8)
    moves = np.random.default_rng(4).standard_normal(coarse.wide.shape).astype(np.float32)
    tuned = replace(coarse, wide=coarse.wide + 0.0005 * moves)
    bring_base(plant, int8_model(tmp_path / "coarse.onnx", coarse), data, 3)
    found = over_the_link(plant, int8_model(tmp_path / "tuned.onnx", tuned), (data, 4), cut=False)
    told("fine-tune, int8", found)


def bring_base(plant: WanPlant, onnx: Path, data: Path, version: int) -> None:
    """The release before, to all but one, over a good line."""
    plant.shape(**GOOD)
    plant.publish(plant.pack(onnx, data, "--probation-seconds", "1"), version)
    rollout = plant.start_rollout(version, "100%", "--selector", "base=yes", "--soak", "0s")
    assert plant.wait_ended(rollout)["state"] == "succeeded"


def over_the_link(
    plant: WanPlant, onnx: Path, what: tuple[Path, int], *, cut: bool
) -> dict[str, int]:
    """The release after it, to all; what each received, and how large the model is."""
    data, version = what
    plant.publish(plant.pack(onnx, data, "--probation-seconds", "1"), version)
    plant.shape(**BAD)
    before = {device: plant.received(device) for device in DEVICES}
    rollout = plant.start_rollout(version, "100%", "--soak", "0s")
    if cut:
        cut_in_the_middle(plant, onnx.stat().st_size)
    ended = plant.wait_ended(rollout, 240.0)
    assert (ended["state"], ended["reason"]) == ("succeeded", "3 of 3 judged devices serve")
    for device in DEVICES:
        assert serves(plant, device) == f"{MODEL}@{version}"
    found = {device: plant.received(device) - before[device] for device in DEVICES}
    return {**found, "model": onnx.stat().st_size}


def cut_in_the_middle(plant: WanPlant, size: int) -> None:
    """Pull the plug once a good part is there, until the device has noticed on both connections.

    A delivery alone would go on as soon as the link is back, had it nothing to say meanwhile.
    """
    partial = plant.folder / WITHOUT / "store" / "partial"

    def arrived() -> int | None:
        found = largest(partial)
        return found if size // 8 < found < size else None

    wait_for("a part of the model", arrived)
    before = lost_sessions(plant)  # a bad link may have cost one already

    def noticed() -> bool | None:
        return (lost_sessions(plant) > before and len(largest_delivered(plant)) > 1) or None

    plant.network.cut(plant.namespaces[WITHOUT])
    try:
        wait_for("a lost session and delivery", noticed, 90.0)
    finally:
        plant.network.restore(plant.namespaces[WITHOUT])


def lost_sessions(plant: WanPlant) -> int:
    """Of the device whose plug is pulled, so far."""
    return plant.log(WITHOUT).count("session lost")


def largest_delivered(plant: WanPlant) -> list[Delivery]:
    """Where each delivery of the model began on that device."""
    return max(plant.deliveries(WITHOUT).values(), key=lambda each: each[0].size)


def resumed(plant: WanPlant) -> None:
    """Every delivery began behind all that had arrived whole; a dead line is asked in vain."""
    deliveries = largest_delivered(plant)
    offsets = [each.offset for each in deliveries]
    assert offsets.count(0) == 1, f"it began anew: {offsets}"
    assert len(offsets) > 1, "the cut came in the middle of no delivery"
    assert offsets == sorted(offsets), f"some bytes were fetched twice: {offsets}"
    assert offsets[-1] > 0
    sys.stdout.write(f"  {WITHOUT}: {deliveries[0].size} bytes, deliveries from {offsets}\n")


def told(what: str, found: dict[str, int]) -> None:
    """Print, and compare in one run: a patch costs less than the blob."""
    size = found["model"]
    patched = [found[device] for device in WITH_BASE]
    sys.stdout.write(
        f"  {what}: model {size} bytes; received with a patch {patched} bytes, whole "
        f"{found[WITHOUT]} bytes (frames, headers, repetitions and the session among them)\n"
    )
    assert found[WITHOUT] > size
    assert max(patched) < size / 2
    assert found[WITHOUT] < 2 * size


def serves(plant: WanPlant, device: str) -> str:
    state = ("--state", str(plant.folder / device), "-o", "json")
    seen = json.loads(plant.apart.command_in(device, "sealane-agent", "status", *state))
    return str(next(each["serves"] for each in seen["slots"] if each["slot"] == SLOT))
