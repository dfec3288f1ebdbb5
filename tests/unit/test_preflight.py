"""What an engine or a processor cannot do is known before a byte of the model moves."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import onnx
import pytest
from sealane import codec
from sealane.bundle.deployment import encode_deployment, parse_deployment
from sealane.bundle.fit import eligible, obstacles
from sealane.bundle.types import Needs
from sealane.errors import BundleError
from sealane.fleet import DeviceFacts, RuntimeFact
from sealane.trust.requirements import unmet
from sealane_agent.facts import instructions
from sealane_agent.recollection import Recollection
from sealane_agent.runtimes.ability import Ability, EngineTrouble, Missing, able, ask_engine
from sealane_agent.runtimes.drivers import cards, drivers
from sealane_agent.runtimes.smallest_model import smallest_model
from sealane_agent.slot import variants
from sealane_manager.bundle.read_model import read_model
from sealane_manager.bundle.variants import parse_instructions
from sealane_manager.store import rows
from support.bundles import tiny_deployment
from support.models import write_tiny

if TYPE_CHECKING:
    from pathlib import Path

ORT = RuntimeFact("onnxruntime", "1.32.0", ("cpu",), opset=26, ir_version=14)
FACTS = DeviceFacts("x86_64", "linux", 2, 2**32, (ORT,), "", ("avx2", "vnni"))
PLAIN = tiny_deployment()


def needing(needs: Needs) -> str:
    """What keeps a variant with these needs from this device; empty when nothing does."""
    (variant,) = [replace(each, needs=needs) for each in PLAIN.variants[:1]]
    said = "" if eligible([variant], FACTS) else obstacles([variant], FACTS)
    return said.removeprefix(f"{variant.name}: ")


@pytest.mark.parametrize(
    ("needs", "said"),
    [
        (Needs(), ""),
        (Needs(26, 14, ("avx2", "vnni")), ""),
        (Needs(27, 14), "needs opset 27, onnxruntime 1.32.0 knows up to 26"),
        (Needs(17, 15), "needs IR version 15, onnxruntime 1.32.0 knows up to 14"),
        (Needs(instructions=("avx2", "amx")), "needs amx, the processor has avx2, vnni"),
    ],
)
def test_a_variant_that_cannot_run_here_says_why(needs: Needs, said: str) -> None:
    assert needing(needs) == said


def test_what_nobody_knows_refuses_nothing() -> None:
    unknown = replace(FACTS, runtimes=(RuntimeFact("onnxruntime", "1", ("cpu",)),), instructions=())
    hungry = [replace(each, needs=Needs(99, 99, ("amx",))) for each in PLAIN.variants]
    assert len(eligible(hungry, unknown)) == len(hungry)


def test_the_failure_is_the_devices_and_not_the_releases() -> None:
    hungry = [replace(each, needs=Needs(opset=99)) for each in PLAIN.variants]
    why = variants.why_none(hungry, FACTS, "vision/defect@7")
    assert (why.kind, why.phase, why.component) == ("environmental", "fetching", "variants")
    assert "needs opset 99" in why.message
    assert why.hint


def test_needs_stand_in_the_contract_only_where_there_are_some() -> None:
    assert b"needs" not in encode_deployment(PLAIN)
    assert parse_deployment(encode_deployment(PLAIN)) == PLAIN
    needs = Needs(17, 9, ("avx512", "vnni"))
    asking = replace(PLAIN, variants=(replace(PLAIN.variants[0], needs=needs),))
    read = parse_deployment(encode_deployment(asking))
    assert read == asking
    for bad in (b'"opset":-1', b'"opset":"17"', b'"opset":1e9'):
        with pytest.raises(BundleError):
            parse_deployment(encode_deployment(asking).replace(b'"opset":17', bad))


def test_facts_travel_and_are_stored_with_what_engines_know() -> None:
    assert codec.facts_from_wire(codec.facts_to_wire(FACTS)) == FACTS
    assert rows.facts(rows.facts_fields(FACTS)) == FACTS
    before = rows.facts_fields(FACTS)
    del before["instructions"]
    for each in before["runtimes"]:
        del each["opset"], each["ir_version"]
    assert rows.facts(before).runtimes[0].opset == 0


def test_a_release_may_require_instructions() -> None:
    assert unmet({"instructions": ["avx2"]}, FACTS) is None
    assert "amx" in str(unmet({"instructions": ["avx2", "amx"]}, FACTS))
    assert "in no form" in str(unmet({"instructions": "avx2"}, FACTS))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("flags\t\t: fpu avx2 avx512f avx_vnni\n", ("avx2", "avx512", "vnni")),
        ("flags : avx2 fma\nflags : fma\n", ()),
        ("Features\t: fp asimd asimddp\n", ("neon", "dotprod")),
        ("model name : x\n", ()),
        ("", ()),
    ],
)
def test_instructions_are_those_of_every_processor(text: str, found: tuple[str, ...]) -> None:
    assert instructions(text) == found


@pytest.mark.parametrize("text", ["", "onnx-int8", "onnx-int8=", "=avx2", "x=avx2,sse9"])
def test_what_names_no_instructions_is_refused(text: str) -> None:
    with pytest.raises(BundleError):
        parse_instructions(text)
    assert parse_instructions("x=avx2,vnni") == ("x", ("avx2", "vnni"))


@pytest.mark.parametrize(("ir_version", "opset"), [(8, 17), (9999, 17), (8, 9999)])
def test_the_smallest_model_is_one(ir_version: int, opset: int) -> None:
    model = onnx.load_from_string(smallest_model(ir_version, opset))
    assert (model.ir_version, model.opset_import[0].version) == (ir_version, opset)
    if opset == 17 and ir_version == 8:
        onnx.checker.check_model(model)


@dataclass
class Engines:
    """What each engine says, and who was asked."""

    found: tuple[str, ...] = ("cpu",)
    missing: tuple[Missing, ...] = ()
    broken: frozenset[str] = frozenset({"openvino"})
    asked: list[str] = field(default_factory=list)

    def ask(self, name: str) -> Ability:
        self.asked.append(name)
        if name in self.broken:
            raise EngineTrouble("it crashed")
        return Ability(self.found, 26, 14, self.missing)


HERE = (RuntimeFact("onnxruntime", "1.32.0", ("cpu",)), RuntimeFact("openvino", "1", ("cpu",)))
NO_DRIVER = (Missing("gpu", "no driver answers", "install it"),)


def test_an_engine_is_asked_once_for_each_version(tmp_path: Path) -> None:
    engines, known = Engines(), Recollection(tmp_path / "engines.json")
    for _ in range(2):
        found = able(HERE, known, engines.ask)
        assert (found[0].opset, found[0].ir_version) == (26, 14)
        assert found[1] == HERE[1]
    assert engines.asked == ["onnxruntime", "openvino", "openvino"]
    able((replace(HERE[0], version="1.33.0"),), known, engines.ask)
    assert engines.asked[-1] == "onnxruntime"
    for damaged in ("[1, 2", '{"onnxruntime 1.32.0": [26, 14]}', '{"onnxruntime": 7}'):
        known.path.write_text(damaged)
        assert able(HERE[:1], known, engines.ask)[0].opset == 26


def test_an_engine_is_asked_again_when_a_driver_comes_or_goes(tmp_path: Path) -> None:
    engines, known = Engines(missing=NO_DRIVER), Recollection(tmp_path / "engines.json")

    def look(drivers: str) -> RuntimeFact:
        return able(HERE[:1], known, engines.ask, drivers)[0]

    assert look("").accelerators == ("cpu",)
    assert look("").lost == ()
    engines.found, engines.missing = ("cpu", "gpu"), ()
    assert look("").accelerators == ("cpu",)
    assert look("nvidia 550").accelerators == ("cpu", "gpu")
    engines.found, engines.missing = ("cpu",), NO_DRIVER
    gone = look("nvidia 560")
    assert (gone.accelerators, gone.lost) == (("cpu",), (("gpu", "no driver answers"),))
    assert look("nvidia 560") == gone
    assert engines.asked == ["onnxruntime"] * 3


def test_what_an_engine_had_is_not_forgotten_while_it_does_not_start(tmp_path: Path) -> None:
    engines, known = Engines(found=("cpu", "gpu")), Recollection(tmp_path / "engines.json")
    able(HERE[:1], known, engines.ask, "1")
    engines.broken = frozenset({"onnxruntime"})
    assert able(HERE[:1], known, engines.ask, "2")[0] == HERE[0]
    engines.broken, engines.found = frozenset(), ("cpu",)
    assert able(HERE[:1], known, engines.ask, "2")[0].lost[0][0] == "gpu"


def test_a_variant_whose_accelerator_was_lost_says_so() -> None:
    lost = replace(ORT, lost=(("gpu", "no driver answers"),))
    gpu = replace(PLAIN.variants[0], accelerator="gpu")
    facts = replace(FACTS, runtimes=(lost,))
    assert "finds no gpu here any more: no driver answers" in obstacles((gpu,), facts)
    assert codec.facts_from_wire(codec.facts_to_wire(facts)) == facts
    assert rows.facts(json.loads(json.dumps(rows.facts_fields(facts)))) == facts


def test_what_a_device_says_it_lost_is_bounded() -> None:
    hostile = replace(ORT, lost=(("gpu", "x" * 10_000), ("<script>", "y")))
    (told,) = codec.facts_from_wire(
        codec.facts_to_wire(replace(FACTS, runtimes=(hostile,)))
    ).runtimes
    assert told.lost == (("gpu", "x" * 300),)


def test_a_machine_without_accelerators_has_no_drivers(tmp_path: Path) -> None:
    assert drivers(tmp_path, tmp_path / "packs") == ""
    assert cards(tmp_path) == {}


def test_drivers_are_others_after_an_update_a_boot_or_a_package(tmp_path: Path) -> None:
    packs = tmp_path / "packs"
    seen: set[str] = set()
    for name, content in (
        ("dev/nvidia0", ""),
        ("dev/nvidiactl", ""),
        ("sys/module/nvidia/version", "550.54"),
        ("sys/module/nvidia/version", "560.1"),
        ("proc/sys/kernel/random/boot_id", "one"),
        ("proc/sys/kernel/random/boot_id", "two"),
        ("usr/lib/x86_64-linux-gnu/libcuda.so.1", ""),
        ("packs/cuda/onnxruntime_gpu-1.31.1.dist-info", ""),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        now = drivers(tmp_path, packs)
        assert now not in seen
        assert drivers(tmp_path, packs) == now
        seen.add(now)


def test_cards_are_known_by_who_made_them_and_by_what_they_are(tmp_path: Path) -> None:
    for name, vendor, kind in (
        ("0000:00:02.0", "0x8086\n", "0x030000\n"),
        ("0000:01:00.0", "0x10de\n", "0x030200\n"),
        ("0000:01:00.1", "0x10de\n", "0x040300\n"),
        ("0000:00:0b.0", "0x8086\n", "0x120000\n"),
    ):
        folder = tmp_path / "sys/bus/pci/devices" / name
        folder.mkdir(parents=True)
        (folder / "vendor").write_text(vendor)
        (folder / "class").write_text(kind)
    assert set(cards(tmp_path)) == {
        ("openvino", "gpu"),
        ("onnxruntime", "gpu"),
        ("openvino", "npu"),
    }


def test_a_packed_model_says_what_it_needs(tmp_path: Path) -> None:
    model = read_model(write_tiny(tmp_path))
    assert model.opset > 0
    assert model.ir_version > 0


@pytest.mark.slow
def test_the_engine_that_is_installed_names_its_limits() -> None:
    found = ask_engine("onnxruntime")
    assert "cpu" in found.accelerators
    assert {each.accelerator for each in found.missing} | set(found.accelerators) == {
        *("cpu", "gpu", "npu")
    }
    assert found.opset >= 17
    assert found.ir_version >= 9
