"""A manager and three devices on booted machines: what an operator relies on, done for real."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from realworld.fleet import DEVICES, install, serving_release, worker_of
from realworld.machine import eventually
from realworld.traffic import traffic

if TYPE_CHECKING:
    from pathlib import Path

    from demo_story.models import Models
    from realworld.fleet import Fleet

UNITS = ("sealane-agent", "sealane-endpoint", "sealane-enroll")


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


def test_an_upgrade_of_the_agent_costs_no_request(
    fleet: Fleet, models: Models, newer: Path
) -> None:
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
    fleet.wait_connected(len(DEVICES))


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


def _another(fleet: Fleet, device: str, unit: str, before: int) -> int | None:
    """The unit's process when it is a new one that has said that it is ready."""
    box = fleet.devices[device]
    pid = box.main_pid(unit)
    return (
        pid if pid not in (0, before) and box.property_of(unit, "ActiveState") == "active" else None
    )


def _since(began: float) -> str:
    return f"{time.monotonic() - began:.1f} s"
