"""Machines whose clock is wrong by decades: the real agent, under libfaketime."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from sealane.trust.identity import (
    key_from_pem,
    key_to_pem,
    load_certificate,
    make_csr,
    new_key,
)
from sealane_agent.facts import device_facts
from sealane_agent.layout import StateFolder as AgentFolder
from sealane_agent.recollection import Recollection
from sealane_manager.identity.ca import LocalAuthority
from sealane_manager.identity.profile import Profile
from support.manager import make_state, running_manager

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealane_manager.layout import StateFolder
    from support.manager import RunningManager

LIBRARY = next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)
PATIENCE_S = 60
CLOCKS = {
    "1970": "@1970-01-01 00:10:00",
    "2106": "@2106-02-07 06:28:15",
    "60 days behind": "-60d",
    "60 days ahead": "+60d",
    "right": "+0",
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        LIBRARY is None and os.environ.get("SEALANE_DEBIAN") != "required",
        reason="libfaketime is not installed: apt-get install faketime",
    ),
]


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningManager]:
    with running_manager(tmp_path_factory.mktemp("manager")) as running:
        yield running


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What engines say of themselves, asked with the right time.

    Python sleeps until a moment of the monotonic clock, and libfaketime moves that moment by
    decades: an agent with a wrong clock could not wait here for the process that asks.
    """
    known = tmp_path_factory.mktemp("engines") / "engines.json"
    device_facts(Recollection(known))
    return known.read_bytes()


def agent(clock: str, *arguments: str) -> subprocess.Popen[str]:
    """The agent's command line on a machine with this clock."""
    assert LIBRARY is not None
    environment = os.environ | {
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME": CLOCKS[clock],
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "TZ": "UTC",
        "PYTHONFAULTHANDLER": "1",
    }
    command = [sys.executable, "-m", "sealane_agent.cli.main", *arguments]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def until(process: subprocess.Popen[str], text: str) -> list[str]:
    """What it says, up to the line with this text; whoever says nothing shows where it stands."""
    assert process.stdout is not None
    lines: list[str] = []
    silent = Timer(PATIENCE_S, process.send_signal, [signal.SIGABRT])
    silent.start()
    try:
        for line in process.stdout:
            lines.append(line)
            if text in line:
                return lines
    finally:
        silent.cancel()
    raise AssertionError(f"it ended before {text!r}: {''.join(lines)}")


@pytest.mark.parametrize("clock", [name for name in CLOCKS if name != "right"])
def test_a_device_with_a_wrong_clock_enrols_and_verifies_at_the_directors_time(
    manager: RunningManager, engines: bytes, tmp_path: Path, clock: str
) -> None:
    name = f"clock-{clock.replace(' ', '-')}"
    options = ("--name", name, "--token", manager.token().encode())
    with agent(clock, "enroll", "--state", str(tmp_path), *options) as enrolling:
        said = enrolling.communicate(timeout=PATIENCE_S)[0]
        assert enrolling.returncode == 0, said
    AgentFolder(tmp_path).engines.write_bytes(engines)
    ports = ("--rest", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
    with agent(clock, "run", "--state", str(tmp_path), *ports) as running:
        try:
            lines = until(running, "clock wrong")
        finally:
            running.terminate()
            running.communicate(timeout=PATIENCE_S)
    assert "timedatectl" in lines[-1], lines
    assert ("behind" in lines[-1]) == (clock in ("1970", "60 days behind")), lines
    assert [line for line in lines if "document accepted" in line], lines
    assert not [line for line in lines if "refused" in line], lines


def test_a_certificate_with_an_end_of_its_own_makes_the_agent_name_its_clock(
    engines: bytes,
    tmp_path: Path,
) -> None:
    """As of an authority that is not ours, or of a fleet that was made long ago."""
    _ends_tomorrow(make_state(tmp_path))
    with running_manager(tmp_path) as manager:
        options = ("--name", "late", "--token", manager.token().encode())
        state = ("--state", str(tmp_path / "device"))
        with agent("60 days ahead", "enroll", *state, *options) as enrolling:
            said = enrolling.communicate(timeout=PATIENCE_S)[0]
            assert enrolling.returncode != 0, said
        assert "certificate has expired" in said
        assert "is the clock of this machine right? it says 20" in said
        with agent("right", "enroll", *state, *options) as enrolling:
            said = enrolling.communicate(timeout=PATIENCE_S)[0]
            assert enrolling.returncode == 0, said
        AgentFolder(tmp_path / "device").engines.write_bytes(engines)
        ports = ("--rest", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
        with agent("60 days ahead", "run", *state, *ports) as running:
            try:
                lines = until(running, "session lost")
            finally:
                running.terminate()
                running.communicate(timeout=PATIENCE_S)
    assert "is the clock of this machine right?" in lines[-1]


def _ends_tomorrow(state: StateFolder) -> None:
    now, key = datetime.now(UTC), new_key()
    authority = LocalAuthority(
        key_from_pem((state.ca / "ca.key").read_bytes()),
        load_certificate((state.ca / "ca.pem").read_bytes()),
    )
    profile = Profile(
        "127.0.0.1",
        [x509.IPAddress(ip_address("127.0.0.1"))],
        ExtendedKeyUsageOID.SERVER_AUTH,
        now - timedelta(days=1),
        now + timedelta(days=1),
    )
    pem = authority.issue(x509.load_der_x509_csr(make_csr(key)), profile)
    (state.ca / "server.key").write_bytes(key_to_pem(key))
    (state.ca / "server.pem").write_bytes(pem)
