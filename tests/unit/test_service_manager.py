"""What a process tells its service manager, and as whom root works in a service's folder."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from sealane.service import ServiceManager, as_owner, become_owner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(1)
        yield manager


def test_every_word_is_one_datagram(heard: socket.socket) -> None:
    service = ServiceManager(heard.getsockname())
    service.ready()
    service.status("well")
    service.alive()
    service.stopping()
    assert [heard.recv(100) for _ in range(4)] == [
        b"READY=1",
        b"STATUS=well",
        b"WATCHDOG=1",
        b"STOPPING=1",
    ]


def test_an_abstract_socket_is_understood() -> None:
    name = f"\0sealane-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name)
        ServiceManager(f"@{name[1:]}").ready()
        assert manager.recv(100) == b"READY=1"


def test_nobody_listens_and_nothing_happens(tmp_path: Path) -> None:
    ServiceManager().ready()
    ServiceManager(str(tmp_path / "gone")).ready()


def test_a_service_manager_that_is_busy_keeps_nobody_waiting(heard: socket.socket) -> None:
    service = ServiceManager(heard.getsockname())
    for _ in range(2000):  # more than the socket holds
        service.alive()
    assert heard.recv(100) == b"WATCHDOG=1"


def test_the_variables_are_taken_out_so_that_no_child_speaks_for_its_parent() -> None:
    environment = {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "4000000", "PATH": "/bin"}
    assert ServiceManager.of(environment).patience_s == 4
    assert environment == {"PATH": "/bin"}


@pytest.mark.parametrize(
    "environment",
    [{}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "1"}],
    ids=["nobody waits", "no number", "another process is waited for"],
)
def test_without_a_watchdog_of_its_own_a_process_has_no_deadline(
    environment: dict[str, str],
) -> None:
    assert ServiceManager.of(environment).patience_s is None


def test_in_a_folder_of_its_own_a_user_stays_who_it_is(tmp_path: Path) -> None:
    before = os.geteuid()
    become_owner(tmp_path)
    become_owner(tmp_path / "missing")
    assert os.geteuid() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_becomes_the_owner_of_a_services_folder(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    program = (
        "import os, pathlib, sealane.service\n"
        f"sealane.service.become_owner(pathlib.Path({str(tmp_path)!r}))\n"
        "print(os.geteuid(), os.getegid(), os.getgroups())"
    )
    said = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)
    assert said.stdout == b"65534 65534 []\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_is_the_owner_of_a_services_folder_for_a_while(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    program = (
        "import os, pathlib, sealane.service\n"
        f"with sealane.service.as_owner(pathlib.Path({str(tmp_path)!r})):\n"
        "    print(os.geteuid(), os.getegid(), os.getgroups())\n"
        "print(os.geteuid(), os.getegid())"
    )
    said = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)
    assert said.stdout == b"65534 65534 []\n0 0\n"


def test_in_a_folder_of_its_own_a_user_is_who_it_is_for_a_while(tmp_path: Path) -> None:
    before = os.geteuid()
    with as_owner(tmp_path / "missing"):
        assert os.geteuid() == before
