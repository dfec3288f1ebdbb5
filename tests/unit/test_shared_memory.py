"""A client's regions of shared memory: where arrays lie in them, and what is left behind."""

from __future__ import annotations

import numpy as np
import pytest
from sealane.shared_memory import FOLDER, NoSharedMemory, SharedRegion, find


def test_an_array_is_found_where_it_lies_and_no_other_is() -> None:
    one, two = SharedRegion(64), SharedRegion(64)
    regions = (one, two)
    assert find(regions, one.content) == (one.name, 0)
    assert find(regions, two.content[8:24].view(np.float32)) == (two.name, 8)
    assert find(regions, np.zeros(4, np.uint8)) is None
    assert find(regions, one.content[64:]) is None
    assert find((), one.content) is None


def test_it_is_the_users_own_zeros_and_its_name_goes_with_it() -> None:
    region = SharedRegion(4096)
    path = FOLDER / region.name
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes() == bytes(4096)
    kept = region.content[:2]
    kept[:] = 7
    assert path.read_bytes()[:2] == b"\x07\x07"
    del region
    assert not path.exists()
    assert kept.tolist() == [7, 7]


def test_what_the_system_cannot_give_is_one_sentence() -> None:
    with pytest.raises(NoSharedMemory, match="no shared memory of"):
        SharedRegion(1 << 60)
