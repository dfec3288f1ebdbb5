"""A simulated HSM (SoftHSM) and a simulated TPM (swtpm behind tpm2-pkcs11), for one test each."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")
TPM = next(iter(Path("/usr/lib").glob("*/libtpm2_pkcs11.so.1")), Path("/nowhere"))
PIN = "1234"
TPM_PACKAGES = (
    "swtpm tpm2-abrmd dbus libtss2-tcti-tabrmd0 tpm2-tools libtpm2-pkcs11-1 libtpm2-pkcs11-tools"
)

HAS_SOFTHSM = SOFTHSM.is_file() and shutil.which("softhsm2-util") is not None
_TPM_TOOLS = ("swtpm", "tpm2_ptool", "tpm2_getrandom", "tpm2-abrmd", "dbus-daemon")
HAS_TPM = TPM.is_file() and all(shutil.which(each) for each in _TPM_TOOLS)
REQUIRED = os.environ.get("SEALANE_DEBIAN") == "required"


def _run(*command: str, environment: Mapping[str, str]) -> None:
    done = subprocess.run(
        command,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


def _uri(folder: Path, module: Path) -> str:
    (folder / "pin").write_text(PIN + "\n")
    return f"pkcs11:token=edge?module-path={module}&pin-source=file:{folder / 'pin'}"


@contextmanager
def softhsm(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The URI of a fresh token, and the environment in which its module finds it."""
    folder.mkdir()
    (folder / "tokens").mkdir()
    configuration = folder / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {folder / 'tokens'}\nlog.level = ERROR\n")
    environment = {"SOFTHSM2_CONF": str(configuration)}
    label = ("--label", "edge", "--pin", PIN, "--so-pin", PIN)
    _run("softhsm2-util", "--init-token", "--free", *label, environment=environment)
    yield _uri(folder, SOFTHSM), environment


@contextmanager
def tpm(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The same for a TPM that is simulated until the block ends, behind its resource manager."""
    for each in (folder, folder / "state", folder / "store"):
        each.mkdir()
    port = _free_pair()
    bus = f"unix:path={folder / 'bus'}"
    environment = {
        "TPM2_PKCS11_STORE": str(folder / "store"),
        "TPM2_PKCS11_TCTI": "tabrmd:bus_type=session",
        "TPM2TOOLS_TCTI": "tabrmd:bus_type=session",
        "DBUS_SESSION_BUS_ADDRESS": bus,
        "TSS2_LOG": "all+NONE",
    }
    with ExitStack() as stack:
        stack.enter_context(_running(*_SIMULATOR, f"dir={folder / 'state'}", *_ports(port)))
        _until(lambda: _listens(port))
        command = ("dbus-daemon", "--session", "--nofork", f"--address={bus}")
        stack.enter_context(_running(*command))
        _until((folder / "bus").exists)
        tcti = f"--tcti=swtpm:host=127.0.0.1,port={port}"
        manager = ("tpm2-abrmd", "--session", "--allow-root", tcti)
        stack.enter_context(_running(*manager, environment=environment))
        _until(lambda: _answers(environment))
        store = ("--path", str(folder / "store"))
        _run("tpm2_ptool", "init", *store, environment=environment)
        label = ("--pid=1", "--label=edge", f"--userpin={PIN}", f"--sopin={PIN}")
        _run("tpm2_ptool", "addtoken", *label, *store, environment=environment)
        yield _uri(folder, TPM), environment


_SIMULATOR = ("swtpm", "socket", "--tpm2", "--flags", "not-need-init,startup-clear", "--tpmstate")


def _ports(port: int) -> tuple[str, ...]:
    server = ("--server", f"type=tcp,port={port},disconnect")
    return (*server, "--ctrl", f"type=tcp,port={port + 1}")


@contextmanager
def _running(*command: str, environment: Mapping[str, str] | None = None) -> Iterator[None]:
    environment = {**os.environ, **(environment or {})}
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet) as process:
        try:
            yield
        finally:
            process.terminate()


def _answers(environment: Mapping[str, str]) -> bool:
    command = ("tpm2_getrandom", "--hex", "4")
    environment = {**os.environ, **environment}
    done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=60)
    return done.returncode == 0


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "the simulated TPM does not come up"
        time.sleep(0.05)


def _free_pair() -> int:
    """A port that is free, and the next one too."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as first:
            port: int = first.getsockname()[1]
            try:
                with socket.create_server(("127.0.0.1", port + 1)):
                    return port
            except OSError:
                continue


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
