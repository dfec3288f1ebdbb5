"""Starts what the serving bench compares: this endpoint, and peers in environments of their own.

Every server gets the same model file, the same engine, the same number of engine threads.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil
from sealane_agent.oip.wire import open_inference_pb2 as wire
from serving_models import place
from support.endpoints import COMMAND, SLOT, endpoint, lay_out

if TYPE_CHECKING:
    from collections.abc import Iterator

    from serving_models import BenchModel

PEERS: Final = {
    "mlserver": ("mlserver", "onnxruntime"),
    "kserve": ("kserve", "onnxruntime"),
    "litserve": ("litserve", "onnxruntime"),
}
"""Each peer, and what is installed into its environment."""

_MEMORY: Final = "SEALANE_AGENT_ENDPOINT_SHARED_MEMORY=true"
START_S: Final = 90.0
REST_S: Final = 2.0
_ROOT: Final = Path(__file__).parents[2]
_SCRIPTS: Final = Path(__file__).parent / "serving_peers"


class CannotRun(Exception):  # noqa: N818 - the word says what is wrong
    """A peer that is not here: why."""


@dataclass(frozen=True)
class Door:
    """One way into a server: an HTTP/1.1 or gRPC address, and the body of a request."""

    server: str
    kind: str
    target: str
    body: bytes
    headers: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """For the tables."""
        return f"{self.server} {self.kind}"


@dataclass
class Server:
    """A running server, its doors, and the Python clients that can ask it, with addresses."""

    name: str
    pid: int
    model: str = "bench"
    doors: list[Door] = field(default_factory=list)
    clients: list[tuple[str, str]] = field(default_factory=list)

    def processes(self) -> list[psutil.Process]:
        """The server's, with all that it started."""
        top = psutil.Process(self.pid)
        return [top, *top.children(recursive=True)]

    def cpu_s(self) -> float:
        """Processor time so far, of processes that have ended too."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return sum(sum(process.cpu_times()[:4]) for process in self.processes())
        return 0.0

    def signal(self, number: int) -> None:
        """Stop or continue: a server that is not measured must not take time from one that is."""
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def signal_on(self) -> None:
        """Let it run."""
        self.signal(signal.SIGCONT)

    def signal_off(self) -> None:
        """Stop it."""
        self.signal(signal.SIGSTOP)

    def rest(self) -> None:
        """Let it end what it still works on: who is stopped within a request is late with it."""
        deadline, before = time.monotonic() + REST_S, -1.0
        while (now := self.cpu_s()) != before and time.monotonic() < deadline:
            before = now
            time.sleep(0.2)

    @contextlib.contextmanager
    def awake(self) -> Iterator[None]:
        """Let it run meanwhile."""
        self.signal(signal.SIGCONT)
        try:
            yield
        finally:
            self.rest()
            self.signal(signal.SIGSTOP)


def environment(folder: Path, peer: str) -> Path:
    """The peer's interpreter, installed when it is not there yet; raises CannotRun."""
    python = folder / f"env-{peer}" / "bin" / "python"
    if python.exists():
        return python
    uv = shutil.which("uv") or str(_ROOT / ".uv" / "bin" / "uv")
    for command in (
        (uv, "venv", "-q", str(python.parent.parent)),
        (uv, "pip", "install", "-q", "--python", str(python), *PEERS[peer]),
    ):
        done = subprocess.run(command, capture_output=True, check=False, text=True)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no word"])[-1]
            raise CannotRun(f"{peer} cannot be installed: {last}")
    return python


@contextlib.contextmanager
def ours(root: Path, model: BenchModel, *options: str) -> Iterator[Server]:
    """This repository's endpoint."""
    folder = lay_out(root)
    place(folder, model, SLOT)
    with endpoint(folder, *options, command=("env", _MEMORY, *COMMAND)) as running:
        server = Server("sealane", running.process.pid, str(SLOT))
        near = f"unix:{root / 'run' / 'inference.sock'}"
        server.clients = [
            ("http", running.rest),
            ("grpc", running.grpc),
            ("http-memory", running.rest),
            ("grpc-memory", running.grpc),
            ("sealane", running.rest),
            ("sealane", near),
            ("sealane-memory", near),
        ]
        path = f"/v2/models/{SLOT}/infer"
        body, length = binary_body(model)
        headers = (f"Inference-Header-Content-Length: {length}",)
        server.doors = [
            Door("sealane", "REST", f"http://{running.rest}{path}", body, headers),
            Door("sealane", "REST unix", near, body, headers),
            grpc_door("sealane", running.grpc, grpc_body(model, SLOT)),
        ]
        _wait(running.rest, f"/v2/models/{SLOT}/ready", running.process)
        try:
            yield server
        finally:
            server.signal_on()


@contextlib.contextmanager
def peer(name: str, python: Path, root: Path, model: BenchModel) -> Iterator[Server]:
    """One of the peers."""
    rest, grpc, metrics = (_free_port() for _ in range(3))
    settings = _settings(root, model, (rest, grpc, metrics))
    command = [str(python), str(_SCRIPTS / f"{name}_server.py")]
    if name == "mlserver":
        command = [str(python.with_name("mlserver")), "start", str(_mlserver_files(root, settings))]
    with (root / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=settings, stdout=log, stderr=log, start_new_session=True
        )
    server = Server(name, process.pid)
    try:
        paths = {
            "mlserver": "/v2/health/ready",
            "kserve": "/v2/health/ready",
            "litserve": "/health",
        }
        try:
            _wait(f"127.0.0.1:{rest}", paths[name], process)
        except TimeoutError as error:
            raise CannotRun(f"{name} does not start: see {root / f'{name}.log'}") from error
        server.doors = _peer_doors(name, (rest, grpc), model)
        if name != "litserve":
            kind = "http-json" if name == "mlserver" else "http"
            server.clients = [(kind, f"127.0.0.1:{rest}"), ("grpc", f"127.0.0.1:{grpc}")]
        yield server
    finally:
        server.signal(signal.SIGCONT)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _settings(root: Path, model: BenchModel, ports: tuple[int, int, int]) -> dict[str, str]:
    root.mkdir(parents=True, exist_ok=True)
    path = root / f"{model.name}.onnx"
    path.write_bytes(model.content)
    return os.environ | {
        "BENCH_MODEL": str(path),
        "BENCH_THREADS": str(len(os.sched_getaffinity(0))),
        "BENCH_DATATYPE": model.datatype.value,
        "BENCH_HTTP": str(ports[0]),
        "BENCH_GRPC": str(ports[1]),
        "BENCH_METRICS": str(ports[2]),
        "PYTHONPATH": str(_SCRIPTS),
        "ORT_DISABLE_TELEMETRY": "1",
    }


def _mlserver_files(root: Path, settings: dict[str, str]) -> Path:
    folder = root / "mlserver"
    (folder / "bench").mkdir(parents=True, exist_ok=True)
    server = {
        "debug": False,
        "host": "127.0.0.1",
        "parallel_workers": 0,
        "http_port": int(settings["BENCH_HTTP"]),
        "grpc_port": int(settings["BENCH_GRPC"]),
        "metrics_port": int(settings["BENCH_METRICS"]),
        "grpc_max_message_length": 64 << 20,
    }
    model = {"name": "bench", "implementation": "mlserver_runtime.Runtime"}
    (folder / "settings.json").write_text(json.dumps(server))
    (folder / "bench" / "model-settings.json").write_text(json.dumps(model))
    return folder


def _peer_doors(name: str, ports: tuple[int, int], model: BenchModel) -> list[Door]:
    base = f"http://127.0.0.1:{ports[0]}"
    as_json = ("Content-Type: application/json",)
    if name == "litserve":
        body = json.dumps({"x": model.row().tolist()}).encode()
        return [Door(name, "REST JSON", f"{base}/predict", body, as_json)]
    infer = f"{base}/v2/models/bench/infer"
    doors = [
        Door(name, "REST JSON", infer, json_body(model), as_json),
        grpc_door(name, f"127.0.0.1:{ports[1]}", grpc_body(model, "bench")),
    ]
    if name == "kserve":
        body, length = binary_body(model)
        binary = (
            "Content-Type: application/octet-stream",
            f"Inference-Header-Content-Length: {length}",
        )
        doors.append(Door(name, "REST", infer, body, binary))
    return doors


def grpc_door(server: str, address: str, body: bytes) -> Door:
    """ModelInfer, framed as gRPC does it."""
    return Door(
        server,
        "gRPC",
        f"http://{address}/inference.GRPCInferenceService/ModelInfer",
        b"\0" + len(body).to_bytes(4, "big") + body,
        ("Content-Type: application/grpc", "te: trailers"),
    )


def _described(model: BenchModel) -> dict[str, object]:
    return {"name": "x", "datatype": model.datatype.value, "shape": [1, *model.shape]}


def binary_body(model: BenchModel) -> tuple[bytes, int]:
    """As a stock client sends it, and the length of its JSON."""
    raw = model.row().tobytes()
    given = {**_described(model), "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [given], "parameters": {"binary_data_output": True}}).encode()
    return head + raw, len(head)


def json_body(model: BenchModel) -> bytes:
    """The same in JSON."""
    given = {**_described(model), "data": model.row().reshape(-1).tolist()}
    return json.dumps({"inputs": [given]}).encode()


def grpc_body(model: BenchModel, name: str) -> bytes:
    """The same as a message."""
    request = wire.ModelInferRequest(model_name=name, raw_input_contents=[model.row().tobytes()])
    request.inputs.add(name="x", datatype=model.datatype.value, shape=[1, *model.shape])
    return bytes(request.SerializeToString())


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _wait(address: str, path: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise TimeoutError(path)
        connection = http.client.HTTPConnection(address, timeout=2)
        try:
            connection.request("GET", path)
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        except OSError:
            time.sleep(0.1)
        finally:
            connection.close()
    raise TimeoutError(path)


@contextlib.contextmanager
def burning(count: int) -> Iterator[None]:
    """So many others, each of whom takes a whole processor where there is one for it."""
    command = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()
