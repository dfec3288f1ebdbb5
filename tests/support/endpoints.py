"""Starts the real endpoint process on a state folder that holds tiny models."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from sealane.names import Digest, ReleaseName, SlotName
from sealane_agent.layout import LKG, Pointer, StateFolder
from support.bundles import TINY_MODEL, tiny_files, tiny_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SLOT: Final = SlotName("cam")
START_S: Final = 60.0
END_S: Final = 60.0

COMMAND: Final = (sys.executable, "-m", "sealane_agent.cli.main", "endpoint")


def tiny_pointer(version: int) -> Pointer:
    """The tiny model of that version."""
    return Pointer(
        ReleaseName(TINY_MODEL, version), Digest(tiny_manifest(version).digest), "onnx-fp32"
    )


def lay_out(root: Path, *versions: int) -> StateFolder:
    """A state folder with the views of these versions; the first one is the slot's LKG."""
    folder = StateFolder(root)
    for version in versions:
        view = folder.view(tiny_pointer(version).manifest)
        for path, content in tiny_files(version).items():
            (view / path).parent.mkdir(parents=True, exist_ok=True)
            (view / path).write_bytes(content)
    if versions:
        lkg = folder.pointer(SLOT, LKG)
        lkg.parent.mkdir(parents=True)
        lkg.write_bytes(tiny_pointer(versions[0]).encode())
    return folder


class EndpointProcess:
    """A running endpoint."""

    def __init__(
        self, folder: StateFolder, *options: str, command: Sequence[str] = COMMAND
    ) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [*command, "--state", str(folder.root), *options],
            stderr=subprocess.PIPE,
            close_fds=False,
        )
        self.rest = self.grpc = ""

    def wait_until_it_listens(self) -> None:
        """Read its addresses once it has written them and takes commands."""
        deadline = time.monotonic() + START_S
        while self._addresses().get("pid") != self.process.pid or not self._takes_commands():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the endpoint did not start: {self.end()}")
            time.sleep(0.02)
        self.rest, self.grpc = self._addresses()["rest"], self._addresses()["grpc"]

    def _takes_commands(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            return connection.connect_ex(str(self.folder.control_socket)) == 0

    def _addresses(self) -> dict[str, Any]:
        try:
            content = self.folder.endpoint_addresses.read_bytes()
        except FileNotFoundError:
            return {}
        return dict(json.loads(content))

    def end(self) -> str:
        """Stop it; returns what it said."""
        self.process.terminate()
        _, said = self.process.communicate(timeout=END_S)
        return said.decode()


@contextmanager
def endpoint(
    folder: StateFolder, *options: str, command: Sequence[str] = COMMAND
) -> Iterator[EndpointProcess]:
    """An endpoint that listens on free ports of its own; `command` may start it in another way."""
    doors = ("--rest", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
    started = EndpointProcess(folder, *doors, *options, command=command)
    try:
        started.wait_until_it_listens()
        yield started
    finally:
        if started.process.returncode is None:
            print(started.end())  # noqa: T201 - what it said belongs to a failing test's output
