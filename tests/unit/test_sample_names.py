"""A sample is meant by the first digits of its id, as the documents write them."""

from __future__ import annotations

import pytest
from sealane.errors import SealaneError
from sealane_manager.cli.sample import whole_id

IDS = ("3f9a" + "0" * 60, "3f9b" + "0" * 60, "aa" + "0" * 62)


@pytest.mark.parametrize(("text", "meant"), [("3f9a", IDS[0]), ("a", IDS[2]), (IDS[1], IDS[1])])
def test_the_first_digits_are_enough(text: str, meant: str) -> None:
    assert whole_id(IDS, text) == meant


def test_what_several_begin_with_is_refused_and_what_none_does_is_left_to_the_manager() -> None:
    with pytest.raises(SealaneError, match="2 samples begin with '3f9'"):
        whole_id(IDS, "3f9")
    assert whole_id(IDS, "77") == "77"
