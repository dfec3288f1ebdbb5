"""A manager and three devices on booted machines: what an operator relies on, done for real."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from realworld.fleet import (
    DEVICES,
    answer_of,
    broken_package,
    install,
    serving_release,
    worker_of,
)
from realworld.hungry import ROWS, hungry_model
from realworld.machine import BoxError, eventually
from realworld.quiet import STATE, Quiet
from realworld.traffic import traffic
from sealane.limits import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from demo_story.models import Models
    from realworld.fleet import Fleet
    from realworld.machine import Box

QUIET_S = 60.0
LOAD_VARIANT = Path(__file__).with_name("load_variant.py")
ENDPOINT_GROUP = "system.slice/sealane-endpoint.service"
STATE_OF_MANAGER = "/var/lib/sealane"
UNITS = ("sealane-agent", "sealane-endpoint", "sealane-enroll")


@pytest.fixture(scope="module")
def quiet(fleet: Fleet) -> Iterator[Quiet]:
    """A second agent beside the first one of `three`, cut off and watched while the others work."""
    agent = Quiet(fleet.devices["three"])
    try:
        agent.start()
        yield agent
    finally:
        agent.stop()


@pytest.mark.usefixtures("quiet")
def test_packages_install_without_a_network_and_every_file_is_as_it_was_packed(
    fleet: Fleet,
) -> None:
    for box in fleet.devices.values():
        assert box.run("dpkg", "--verify", "sealane-agent") == ""
        assert serving_release(box) == "1"


def test_a_unit_is_well_formed_and_exposes_little(fleet: Fleet) -> None:
    units = [(fleet.devices["one"], unit) for unit in UNITS]
    units.append((fleet.manager, "sealane-manager"))
    for box, unit in units:
        said = box.try_run("systemd-analyze", "verify", f"{unit}.service")
        assert (said.returncode, said.stdout, said.stderr) == (0, "", "")
        box.run("systemd-analyze", "security", "--threshold=15", f"{unit}.service")


def test_a_release_goes_through_its_stages_and_a_bad_one_comes_back_under_requests(
    fleet: Fleet, models: Models
) -> None:
    fleet.publish(models, 2, "--probation-requests", "30")
    fleet.publish(models, 3, "--probation-requests", "30")
    with traffic(fleet.devices, models.traffic, fleet.folder) as asked:
        assert fleet.roll_out(2, "1,67%,100%")["state"] == "succeeded"
        reverted = fleet.roll_out(3, "1,67%,100%")
        asked.go_on()
    assert reverted["state"] == "reverted"
    reached = [each for each in reverted["devices"] if each["state"] not in ("waiting", "skipped")]
    assert len(reached) == 1
    assert asked.bad() == []
    assert {serving_release(box) for box in fleet.devices.values()} == {"2"}
    fleet.clock.say(f"{len(asked.requests())} requests, none failed")


def test_the_journal_finds_what_a_slot_did_by_its_fields(fleet: Fleet) -> None:
    journal = ("journalctl", "--output=json", "--unit=sealane-agent")
    found = (
        fleet.devices["one"].run(*journal, "SEALANE_EVENT=slot", "SEALANE_SLOT=digits").splitlines()
    )
    states = [str(json.loads(line)["SEALANE_STATE"]) for line in found]
    assert states[0] == "accepted"
    assert "committed" in states


def test_a_killed_supervisor_comes_back_and_no_request_notices(
    fleet: Fleet, models: Models
) -> None:
    box = fleet.devices["one"]
    before = box.main_pid("sealane-agent")
    with traffic(fleet.devices, models.traffic, fleet.folder) as asked:
        began = time.monotonic()
        box.run("kill", "-KILL", str(before))
        eventually("another supervisor", lambda: _another(fleet, "one", "sealane-agent", before))
        fleet.clock.say(f"supervisor killed: another is well after {_since(began)}")
        asked.go_on()
    assert asked.bad() == []
    fleet.wait_connected(len(DEVICES))


def test_a_supervisor_that_hangs_is_ended_by_its_watchdog_and_comes_back(
    fleet: Fleet, models: Models
) -> None:
    box = fleet.devices["one"]
    box.run(
        *("sh", "-c", "mkdir -p /run/systemd/system/sealane-agent.service.d; cat > $0"),
        "/run/systemd/system/sealane-agent.service.d/watchdog.conf",
        given="[Service]\nWatchdogSec=4\n",
    )
    box.run("systemctl", "daemon-reload")
    box.run("systemctl", "restart", "sealane-agent")
    before = box.main_pid("sealane-agent")
    with traffic(fleet.devices, models.traffic, fleet.folder) as asked:
        began = time.monotonic()
        box.run("kill", "-STOP", str(before))
        eventually("another supervisor", lambda: _another(fleet, "one", "sealane-agent", before))
        fleet.clock.say(f"supervisor hung: another is well after {_since(began)}")
        asked.go_on()
    assert "Watchdog timeout" in box.journal("sealane-agent", 50)
    assert asked.bad() == []


def test_a_killed_worker_costs_no_request(fleet: Fleet, models: Models) -> None:
    with traffic(fleet.devices, models.traffic, fleet.folder) as asked:
        for box in fleet.devices.values():
            os.kill(worker_of(box), signal.SIGKILL)
        asked.go_on(100)
    assert asked.bad() == []


def test_a_killed_endpoint_is_back_in_seconds_with_what_it_served(
    fleet: Fleet, models: Models
) -> None:
    box = fleet.devices["two"]
    before = box.main_pid("sealane-endpoint")
    with traffic({"two": box}, models.traffic, fleet.folder) as asked:
        began = time.monotonic()
        box.run("kill", "-KILL", str(before))
        eventually("another endpoint", lambda: _another(fleet, "two", "sealane-endpoint", before))
        eventually("an answer", lambda: serving_release(box))
        fleet.clock.say(f"endpoint killed: it answers again after {_since(began)}")
        asked.go_on()
        requests = asked.requests()
    assert requests[-1].version == "2"


def test_a_worker_that_takes_too_much_memory_goes_alone(
    fleet: Fleet, models: Models, tmp_path: Path
) -> None:
    box = fleet.devices["two"]
    onnx, data = hungry_model(tmp_path)
    fleet.release("digits/hungry@1", onnx, data, "hungry")
    only_two = ("--selector", "place=two", "--stages", "100%")
    assert fleet.roll("digits/hungry@1", "hungry", *only_two)["state"] == "succeeded"
    hungry, endpoint = worker_of(box), box.main_pid("sealane-endpoint")
    used = int(box.property_of("sealane-endpoint", "MemoryCurrent"))
    limit = f"MemoryMax={used + 200 * MIB}"
    box.run("systemctl", "set-property", "--runtime", "sealane-endpoint", limit)
    with traffic({"two": box}, models.traffic, fleet.folder) as asked:
        assert answer_of(box, "hungry", rows=ROWS) is None
        asked.go_on(100)
    box.run("systemctl", "set-property", "--runtime", "sealane-endpoint", "MemoryMax=infinity")
    assert not Path(f"/proc/{hungry}").exists()
    assert ended_for_memory(box) >= 1  # the request was tried once more before it was given up
    assert box.main_pid("sealane-endpoint") == endpoint
    assert asked.bad() == []
    assert eventually("an answer", lambda: answer_of(box, "hungry")) == "1"
    fleet.clock.say(
        f"a worker was ended at {used // MIB + 200} MiB, {len(asked.requests())} others answered"
    )


def test_openvino_runs_in_the_endpoints_unit_once_its_package_is_there(
    fleet: Fleet, models: Models, packages: dict[str, Path]
) -> None:
    box, release = fleet.devices["one"], models.releases[2]
    converted = release.onnx.with_name(f"{release.onnx.stem}-openvino.xml")
    inside = fleet.manager.copy(converted, "/srv/models")
    fleet.manager.copy(converted.with_suffix(".bin"), "/srv/models")
    before = box.main_pid("sealane-endpoint")
    install(box, packages["sealane-runtime-openvino"])
    assert box.main_pid("sealane-endpoint") != before
    box.run("systemd-analyze", "security", "--threshold=15", "sealane-endpoint.service")
    fleet.wait_connected(len(DEVICES))
    variant = f"--variant=ov-fp32={inside}:openvino:fp32"
    fleet.release("digits/classifier@5", release.onnx, release.data, "digits", variant)
    only_one = ("--selector", "place=one", "--stages", "100%")
    assert fleet.roll("digits/classifier@5", "digits", *only_one)["state"] == "succeeded"
    box.copy(LOAD_VARIANT, "/srv")
    said = box.run(
        *("setpriv", "--reuid=sealane-agent", "--regid=sealane-agent", "--clear-groups"),
        *("/usr/lib/sealane-agent/current/bin/python3", "-I", f"/srv/{LOAD_VARIANT.name}"),
        *("digits", "ov-fp32"),
    )
    fleet.clock.say(f"OpenVINO under the unit's protection: {said.strip()}")


def test_an_upgrade_that_does_not_come_up_is_taken_back(
    fleet: Fleet, models: Models, newer: Path, tmp_path: Path
) -> None:
    box = fleet.devices["one"]
    broken = broken_package(newer, tmp_path)
    with traffic(fleet.devices, models.traffic, fleet.folder) as asked:
        with pytest.raises(BoxError, match="the new version does not come up; the old one goes on"):
            install(box, broken)
        asked.go_on()
    assert asked.bad() == []
    assert "-1+deb12" in box.run("readlink", "-f", "/usr/lib/sealane-agent/current")
    assert box.property_of("sealane-agent", "ActiveState") == "active"
    fleet.wait_connected(len(DEVICES))


def test_an_upgrade_of_the_agent_costs_no_request(
    fleet: Fleet, models: Models, newer: Path
) -> None:
    changed = fleet.devices["one"].root / "etc/sealane/agent.toml"
    changed.write_text('[log]\nform = "json"\n')
    endpoints = {name: box.main_pid("sealane-endpoint") for name, box in fleet.devices.items()}
    with traffic(fleet.devices, models.traffic, fleet.folder) as asked:
        for name, box in fleet.devices.items():
            took = install(box, newer)
            fleet.clock.say(f"{name} upgraded under requests in {took:.1f} s")
            os.kill(worker_of(box), signal.SIGKILL)  # its successor begins from the old files
        asked.go_on(100)
    assert asked.bad() == []
    gaps = ", ".join(f"{asked.longest_gap_ms(name):.0f} ms" for name in DEVICES)
    fleet.clock.say(f"{len(asked.requests())} requests, none failed; longest gaps {gaps}")
    for name, box in fleet.devices.items():
        assert "-2+deb12" in box.run("readlink", "-f", "/usr/lib/sealane-agent/current")
        assert box.main_pid("sealane-endpoint") == endpoints[name]
        running = box.run("cat", f"/proc/{box.main_pid('sealane-agent')}/cmdline")
        assert "-2+deb12" in running
    assert changed.read_text() == '[log]\nform = "json"\n'
    fleet.wait_connected(len(DEVICES))


def test_a_version_that_a_rollout_brings_costs_no_request_and_a_bad_one_goes_back(
    fleet: Fleet, models: Models, newer: Path
) -> None:
    box = fleet.devices["one"]
    box.write("/etc/sealane/agent.toml", '[upgrade]\nby = "rollout"\ndeadline = 40\n')
    box.run("systemctl", "restart", "sealane-agent")
    fleet.wait_connected(len(DEVICES))
    good = fleet.release_agent(1, newer)
    bad = fleet.release_agent(2, newer, "def run(settings):\n    raise SystemExit(3)\n")
    endpoint = box.main_pid("sealane-endpoint")
    fleet.network.shape(box.name, delay_ms=1.0, jitter_ms=0.0, loss=0.0)
    only_one = ("--selector", "place=one", "--stages", "100%")
    with traffic(fleet.devices, models.traffic, fleet.folder) as asked:
        ended = fleet.roll(good, "sealane-agent", *only_one)
        assert ended["state"] == "succeeded", ended
        running = version_of(box)
        assert fleet.roll(bad, "sealane-agent", *only_one)["state"] == "reverted"
        asked.go_on(100)
    assert asked.bad() == []
    assert "/var/lib/sealane-agent/upgrade/versions/" in running
    eventually("the version before", lambda: version_of(box) == running or None)
    assert box.main_pid("sealane-endpoint") == endpoint
    box.run("systemctl", "restart", "sealane-endpoint")
    assert version_of(box, "sealane-endpoint") == running
    assert eventually("an answer", lambda: serving_release(box)) is not None
    fleet.wait_connected(len(DEVICES))
    gap = asked.longest_gap_ms("one")
    fleet.clock.say(f"{len(asked.requests())} requests, none failed; longest gap {gap:.0f} ms")


def test_a_lost_manager_is_put_back_from_its_backup_by_root_and_goes_on(
    fleet: Fleet, models: Models
) -> None:
    box = fleet.manager
    box.write("/etc/sealane/passphrase", "four words of a fleet\n", mode=0o600)
    sealed = ("--passphrase-file", "/etc/sealane/passphrase")
    fleet.sealane("backup", "/srv/backup", "--state", STATE_OF_MANAGER, *sealed)
    assert box.run("find", STATE_OF_MANAGER, "!", "-user", "sealane") == ""
    began = time.monotonic()
    with traffic(fleet.devices, models.traffic, fleet.folder) as asked:
        box.run("systemctl", "kill", "--signal=KILL", "sealane-manager")
        box.run("systemctl", "stop", "sealane-manager")
        box.run("sh", "-c", f"rm -rf {STATE_OF_MANAGER}/* {STATE_OF_MANAGER}/.[!.]*")
        fleet.sealane("restore", "/srv/backup", STATE_OF_MANAGER, *sealed)
        assert box.run("find", STATE_OF_MANAGER, "!", "-user", "sealane") == ""
        box.run("systemctl", "start", "sealane-manager")
        fleet.wait_connected(len(DEVICES))
        asked.go_on()
    assert asked.bad() == []
    fleet.clock.say(f"manager lost and put back: every device is in session after {_since(began)}")
    assert "restore" in fleet.sealane("audit", "list", "--action", "restore")


def test_after_a_power_cut_a_machine_without_a_network_serves_its_last_good_model(
    fleet: Fleet,
) -> None:
    box = fleet.devices["three"]
    fleet.network.cut(box.name)
    try:
        box.cut_power()
        began = time.monotonic()
        box.start()
        box.wait_up()
        fleet.clock.say(f"up again after {_since(began)}")
        assert eventually("an answer", lambda: serving_release(box)) == "2"
        fleet.clock.say(f"serves again {_since(began)} after the power came back, no network")
        assert box.property_of("sealane-agent", "ActiveState") == "active"
    finally:
        fleet.network.restore(box.name)
    fleet.wait_connected(len(DEVICES))


def test_an_agent_speaks_to_nobody_but_its_manager_and_writes_nowhere_but_in_its_state(
    fleet: Fleet, quiet: Quiet
) -> None:
    quiet.finish(QUIET_S)
    assert "endpoint started" in quiet.said()
    dialled = quiet.addresses()
    manager = ("htons(7443)", fleet.manager.address)
    assert [each for each in dialled if not all(word in each for word in manager)] == []
    assert dialled
    strays = {path for path in quiet.written() if not path.startswith(STATE)}
    assert strays == set()
    assert quiet.left_at_home() == []
    fleet.clock.say(f"{QUIET_S:.0f} s without a network: it dialled only {fleet.manager.address}")


def test_a_removed_agent_keeps_what_it_knows_and_a_purged_one_leaves_nothing(
    fleet: Fleet, packages: dict[str, Path]
) -> None:
    box = fleet.devices["three"]
    box.run("dpkg", "--remove", "sealane-agent")
    assert (box.root / "var/lib/sealane-agent/identity/device.key").exists()
    assert not (box.root / "usr/lib/sealane-agent").exists()
    began = time.monotonic()
    install(box, packages["sealane-agent"])
    assert eventually("an answer", lambda: serving_release(box)) == "2"
    fleet.clock.say(f"from dpkg --install to the first answer {_since(began)}")
    fleet.wait_connected(len(DEVICES))
    box.run("dpkg", "--purge", "sealane-agent")
    for left in ("var/lib/sealane-agent", "usr/lib/sealane-agent", "etc/sealane"):
        assert not (box.root / left).exists()


def version_of(box: Box, unit: str = "sealane-agent") -> str:
    """The program that a unit's process was started from."""
    return box.run("cat", f"/proc/{box.main_pid(unit)}/cmdline").partition("\0")[0]


def ended_for_memory(box: Box) -> int:
    """Processes of the endpoint's unit that the kernel ended because its memory was used up."""
    files = "memory/$0/memory.oom_control $0/memory.events"  # of the old hierarchy, of the new one
    said = box.try_run("sh", "-c", f"cd /sys/fs/cgroup; cat {files}", ENDPOINT_GROUP).stdout
    return int(said.partition("oom_kill ")[2].split()[0])


def _another(fleet: Fleet, device: str, unit: str, before: int) -> int | None:
    """The unit's process when it is a new one that has said that it is ready."""
    box = fleet.devices[device]
    pid = box.main_pid(unit)
    return (
        pid if pid not in (0, before) and box.property_of(unit, "ActiveState") == "active" else None
    )


def _since(began: float) -> str:
    return f"{time.monotonic() - began:.1f} s"
