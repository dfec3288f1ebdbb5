"""Prints what serving costs, side by side: the bare engine, this endpoint, and three peers.

    PYTHONPATH=tests python tests/bench/serving.py [--models tiny,cnn,image] [--rounds 3]
        [--seconds 3] [--busy 2] [--envs FOLDER]

Every server runs the same ONNX file on the same engine with as many engine threads; those that are
not measured are stopped meanwhile. h2load (Debian: nghttp2-client) is the client of the first
table, so that differences are the servers'; Python clients are in the second. Rounds are
interleaved and medians are shown: compare numbers of one run with each other only. "Client alone"
is the same client against a server in Python that answers the same bytes at once: nearly all of it
is the client's own. With `--busy` all of it is measured once more beside so many processes that
compute without end, as on a machine that has other work: there a processor's time is what counts,
and being woken costs less.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnxruntime
from serving_alone import ALONE, alone
from serving_load import WARM_UP_S, Measured, drive
from serving_models import MODELS, saved
from serving_servers import PEERS, CannotRun, Server, burning, environment, ours, peer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from serving_models import BenchModel
    from serving_servers import Door

CLIENTS: Final = (1, 4, 16)
PROCESSORS: Final = len(os.sched_getaffinity(0))
ENGINE: Final = "engine in process"
ENGINE_1: Final = f"{ENGINE}, 1 thread a call"

Key = tuple[str, int]


@dataclass(frozen=True)
class Plan:
    """How long and how often."""

    rounds: int
    seconds: float
    envs: Path


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="tiny,cnn,image")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--busy", type=int, default=0, help="once more beside so many others")
    parser.add_argument("--envs", type=Path, default=Path.home() / ".cache" / "sealane-bench")
    arguments = parser.parse_args()
    if not shutil.which("h2load"):
        parser.error("h2load is missing: apt-get install nghttp2-client")
    plan = Plan(arguments.rounds, arguments.seconds, arguments.envs)
    for name in arguments.models.split(","):
        _measure(MODELS[name](), plan, arguments.busy)


def _measure(model: BenchModel, plan: Plan, busy: int) -> None:
    with TemporaryDirectory(prefix="sealane-bench-") as folder, contextlib.ExitStack() as stack:
        servers = list(_servers(model, plan, Path(folder), stack))
        for others in (0, busy) if busy else (0,):
            load = os.getloadavg()[0]
            beside = (
                f"beside {others} that compute without end" if others else "with nothing beside"
            )
            say(f"\n## {model.name}, {beside} (load average {load:.1f} before)\n")
            with burning(others):
                _show(_rounds(model, servers, plan))
                _show_clients(_clients(model, servers, plan))
        for server in servers:
            server.signal_on()


def _servers(
    model: BenchModel, plan: Plan, folder: Path, stack: contextlib.ExitStack
) -> Iterator[Server]:
    own = stack.enter_context(ours(folder / "ours", model))
    yield own
    yield stack.enter_context(alone(folder / "alone", own))
    for name in PEERS:
        try:
            python = environment(plan.envs, name)
            yield stack.enter_context(peer(name, python, folder / name, model))
        except CannotRun as error:
            say(f"without {name}: {error}")


def _rounds(model: BenchModel, servers: list[Server], plan: Plan) -> dict[Key, list[Measured]]:
    found: dict[Key, list[Measured]] = defaultdict(list)
    for server in servers:
        server.signal_off()
    doors = [(server, door) for server in servers for door in server.doors]
    for clients in CLIENTS * plan.rounds:
        for name, threads in ((ENGINE, PROCESSORS), (ENGINE_1, 1)):
            found[name, clients].append(_engine(model, clients, threads, plan.seconds))
        for server, door in doors:
            found[door.name, clients].append(_driven(server, door, clients, plan.seconds))
    return found


def _driven(server: Server, door: Door, clients: int, seconds: float) -> Measured:
    """One round at one door, with what it took of the server's processor time."""
    with server.awake():
        before = server.cpu_s()
        measured = drive(door, clients, seconds)
        spent = server.cpu_s() - before
    requests = max(1.0, measured.per_second * (seconds + WARM_UP_S))
    return replace(measured, cpu=spent / requests * 1e6)


def _engine(model: BenchModel, clients: int, threads: int, seconds: float) -> Measured:
    """The limit: as many callers of the engine as clients, with nothing in between.

    Each call is computed by so many of the engine's threads. As many as processors, as the servers
    have, answer one caller soonest; with several callers they are in each other's way.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.spin_duration_us", "20")
    session = onnxruntime.InferenceSession(
        model.content, options, providers=["CPUExecutionProvider"]
    )
    given = {"x": model.row()}
    times: list[float] = []
    end = time.perf_counter() + seconds

    def ask() -> None:
        now = time.perf_counter()
        while now < end:
            before = now
            session.run(["y"], given)
            now = time.perf_counter()
            times.append(now - before)

    session.run(["y"], given)
    before, callers = time.process_time(), [threading.Thread(target=ask) for _ in range(clients)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    p50, p99 = np.quantile(times, (0.5, 0.99)) * 1e6
    cpu = (time.process_time() - before) / len(times) * 1e6
    return Measured(len(times) / seconds, float(p50), float(p99), cpu, 0)


def say(line: str) -> None:
    """Print at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _show(found: dict[Key, list[Measured]]) -> None:
    many = " · ".join(map(str, CLIENTS))
    say(f"| {many} clients | requests/s | of the best peer's | of the engine's | p50 ms | p99 ms |"
        " processor time µs | failed |")  # fmt: skip
    say("|---|---|---|---|---|---|---|---|")
    middle = {key: _median(rounds) for key, rounds in found.items()}
    for door in dict.fromkeys(door for door, _ in found):
        mine = [middle[door, clients] for clients in CLIENTS]
        columns = (
            [f"{one.per_second:,.0f}" for one in mine],
            [_of_the_best(middle, door, clients) for clients in CLIENTS],
            [f"{one.per_second / middle[ENGINE, n].per_second:.0%}" for n, one in _each(mine)],
            [f"{one.p50 / 1000:.2f}" for one in mine],
            [f"{one.p99 / 1000:.2f}" for one in mine],
            [f"{one.cpu:.0f}" for one in mine],
            [f"{one.failed}" for one in mine],
        )
        say(f"| {door} | {' | '.join(' · '.join(column) for column in columns)} |")


def _each(mine: list[Measured]) -> Iterator[tuple[int, Measured]]:
    return zip(CLIENTS, mine, strict=True)


def _of_the_best(middle: dict[Key, Measured], door: str, clients: int) -> str:
    rivals = [
        one.per_second
        for (name, n), one in middle.items()
        if n == clients and _is_rival(door, name)
    ]
    best = max(rivals, default=0)
    bare = door.startswith(ENGINE)
    return f"{middle[door, clients].per_second / best:.1f}" if best and not bare else "-"


def _is_rival(door: str, name: str) -> bool:
    """A peer's door of the same protocol."""
    kind = "gRPC" if "gRPC" in door else "REST"
    return not name.startswith(("sealane", ENGINE, ALONE)) and kind in name


def _median(rounds: list[Measured]) -> Measured:
    return Measured(
        median(one.per_second for one in rounds),
        median(one.p50 for one in rounds),
        median(one.p99 for one in rounds),
        median(one.cpu for one in rounds),
        sum(one.failed for one in rounds),
    )


def _clients(
    model: BenchModel, servers: list[Server], plan: Plan
) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    with TemporaryDirectory() as folder:
        row = Path(folder) / "row.npy"
        row.write_bytes(saved(model.row()))
        libraries = [(server, *each) for server in servers for each in server.clients]
        for server, kind, address in libraries * plan.rounds:
            with server.awake():
                said = _client(kind, address, (server.model, row), plan.seconds)
            near = " (unix socket)" if address.startswith("unix:") else ""
            found[f"{server.name}, {kind} client{near}"].append(said)
    return found


def _client(kind: str, address: str, asked: tuple[str, Path], seconds: float) -> dict[str, Any]:
    script = Path(__file__).with_name("serving_clients.py")
    done = subprocess.run(
        [sys.executable, script, kind, address, asked[0], asked[1], str(seconds)],
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["no word"])[-1][:80]}
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def _show_clients(found: dict[str, list[dict[str, Any]]]) -> None:
    say("\n| one Python client | requests/s | p50 µs | p99 µs | client's CPU µs/request |")
    say("|---|---|---|---|---|")
    for name, rounds in found.items():
        errors = [one["error"] for one in rounds if "error" in one]
        if errors:
            say(f"| {name} | {errors[0]} | | | |")
            continue
        middle = [median(one[key] for one in rounds) for key in ("per_second", "p50", "p99", "cpu")]
        say(f"| {name} | " + " | ".join(f"{value:,.0f}" for value in middle) + " |")


if __name__ == "__main__":
    main()
