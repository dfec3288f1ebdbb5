"""Files that a device may lose: whatever is wrong with them costs a line in the log and no more."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sealane import fileio
from sealane.disk import Disk
from sealane.fleet import RuntimeFact
from sealane_agent.layout import StateFolder
from sealane_agent.recollection import (
    KEPT,
    RECOLLECTION_BYTES,
    Recollection,
    encode,
    with_one_more,
)
from sealane_agent.runtimes import ability
from sealane_agent.runtimes.ability import Ability, Known, Missing, able
from sealane_agent.serving import footprint
from sealane_agent.serving.footprints import Footprints
from sealane_agent.slot import qualification
from support.agent_fakes import Lines

if TYPE_CHECKING:
    from collections.abc import Callable

DECODERS = (qualification.decode, footprint.decode, ability.decode)
ENGINE = Ability(("cpu",), 21, 10)
KNOWN_ABLE = Ability(("cpu",), 26, 14, (Missing("gpu", "no driver", "install it"),))
ORT = RuntimeFact("onnxruntime", "1.32.0", ("cpu",))
WON = qualification.Qualified("key", "int8", 10, (("gpu", "none"),))
TOOK = footprint.Footprint(3, 2, 1)
WHOLE = (
    encode({"a": WON}),
    encode({"a": TOOK}),
    encode({"a": Known("1.32.0", KNOWN_ABLE, ("cpu",))}),
)


class Full(Disk):
    """A disk on which nothing more can be written."""

    def sync(self, descriptor: int) -> None:
        raise OSError(errno.ENOSPC, f"No space left for {descriptor}")


def read(content: bytes, decode: Callable[[Any], Any]) -> tuple[dict[str, Any], Lines]:
    lines = Lines()
    with NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        return Recollection(Path(file.name), lines).read(decode), lines


@pytest.mark.parametrize(("decode", "content"), [*zip(DECODERS, WHOLE, strict=True)])
def test_what_was_torn_anywhere_is_ignored_with_one_line(
    decode: Callable[[Any], Any], content: bytes
) -> None:
    found, lines = read(content, decode)
    assert found
    assert not lines.events
    for end in range(len(content.rstrip())):
        found, lines = read(content[:end], decode)
        assert not found
        assert [event for event, _ in lines.events] == ["damaged file ignored"]


@pytest.mark.parametrize("decode", DECODERS)
@pytest.mark.parametrize(
    "content",
    [
        b" " * RECOLLECTION_BYTES + b"{}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"9" * 5000,
        b'{"a": "\\ud800"}',
        b"\xff\xfe",
        b"{}x",
        b"null",
        b"[]",
        b'{"a": null}',
    ],
)
def test_whatever_is_hostile_is_ignored_with_one_short_line(
    decode: Callable[[Any], Any], content: bytes
) -> None:
    found, lines = read(content, decode)
    assert not found
    ((event, fields),) = lines.events
    assert event == "damaged file ignored"
    assert len(str(fields["reason"])) <= 200


@pytest.mark.parametrize("decode", DECODERS)
@given(
    fields=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["a", "key", "peak", "opset", "ability", "had", "passed"]), inner
            )
        ),
        max_leaves=12,
    )
)
@example(fields={"a": {"version": "", "had": [], "ability": {"accelerators": [], "opset": 1e999}}})
def test_no_other_shape_ends_who_reads_it(decode: Callable[[Any], Any], fields: Any) -> None:
    _, lines = read(json.dumps(fields).encode(), decode)
    assert len(lines.events) <= 1


def test_a_file_that_is_missing_is_nothing_to_tell(tmp_path: Path) -> None:
    lines = Lines()
    assert Recollection(tmp_path / "none.json", lines).read(footprint.decode) == {}
    assert not lines.events


def test_more_than_would_be_read_is_not_written(tmp_path: Path) -> None:
    lines, path = Lines(), tmp_path / "kept.json"
    long = qualification.Qualified("key", " " * RECOLLECTION_BYTES, 10)
    Recollection(path, lines).write({"a": long})
    assert [event for event, _ in lines.events] == ["not remembered"]
    assert not path.exists()


def test_the_oldest_is_forgotten_when_there_are_too_many(tmp_path: Path) -> None:
    known: dict[str, footprint.Footprint] = {}
    for number in range(KEPT + 1):
        known = with_one_more(known, str(number), TOOK)
        known = with_one_more(known, "1", TOOK)
    assert len(known) == KEPT
    assert "0" not in known
    assert list(known)[-1] == "1"
    kept = Recollection(tmp_path / "kept.json")
    kept.write({"older": TOOK, **known})
    assert kept.read(footprint.decode) == known


def test_a_full_disk_keeps_nobody_from_knowing_its_engines(tmp_path: Path) -> None:
    lines = Lines()
    known = Recollection(tmp_path / "engines.json", lines)
    with fileio.using(Full()):
        (found,) = able((ORT,), known, lambda _: ENGINE)
    assert found.opset == ENGINE.opset
    assert [event for event, _ in lines.events] == ["not remembered"]


@pytest.mark.parametrize("number", ["1e999", "-1", "1000001", "1" * 4000])
def test_versions_that_no_engine_has_are_asked_for_again(tmp_path: Path, number: str) -> None:
    known = Recollection(tmp_path / "engines.json")
    content = WHOLE[2].decode().replace('"a"', '"onnxruntime"')
    known.path.write_text(content.replace("26", number))
    (found,) = able((ORT,), known, lambda _: ENGINE)
    assert found.opset == ENGINE.opset
    known.path.write_text(content)
    (found,) = able((ORT,), known, lambda _: ENGINE)
    assert found.opset == 26


def test_damaged_footprints_cost_an_endpoint_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = StateFolder(tmp_path)
    folder.footprints.write_bytes(WHOLE[1][:-5])
    Footprints(folder, 2**30).keep()
    assert caplog.text.count("damaged file ignored") == 1
    assert json.loads(folder.footprints.read_bytes()) == {}
