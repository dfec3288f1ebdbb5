"""Starts a server that answers what this endpoint answered once: then only the client costs."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import grpc
from serving_servers import REST_S, START_S, CannotRun, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from serving_servers import Door

ALONE: Final = "client alone"

_FRAME_BYTES: Final = 5
"""Of gRPC, before each message."""


@contextlib.contextmanager
def alone(root: Path, like: Server) -> Iterator[Server]:
    """Answers with what `like`, which is this repository's endpoint, answers to one request."""
    root.mkdir()
    files, near = (root / "rest", root / "grpc"), root / "socket"
    rest, _, over_grpc = like.doors
    files[0].write_bytes(_answer_over_rest(rest))
    files[1].write_bytes(_answer_over_grpc(over_grpc))
    addresses, script = root / "addresses", Path(__file__).with_name("serving_canned.py")
    process = subprocess.Popen([sys.executable, script, *files, near, addresses])
    server = Server(ALONE, process.pid, like.model)
    try:
        deadline = time.monotonic() + START_S
        while not addresses.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise CannotRun(f"{ALONE}: its server did not start")
            time.sleep(REST_S / 100)
        found = json.loads(addresses.read_text())
        targets = (
            f"http://{found['rest']}{urlsplit(rest.target).path}",
            f"unix:{near}",
            f"http://{found['grpc']}{urlsplit(over_grpc.target).path}",
        )
        server.doors = [
            replace(door, server=ALONE, target=target)
            for door, target in zip(like.doors, targets, strict=True)
        ]
        server.clients = [
            ("http", found["rest"]),
            ("grpc", found["grpc"]),
            ("sealane", found["rest"]),
            ("sealane", f"unix:{near}"),
        ]
        yield server
    finally:
        server.signal_on()
        process.kill()
        process.wait()


def _answer_over_rest(door: Door) -> bytes:
    """All bytes of it, its head included."""
    url = urlsplit(door.target)
    lines = [f"POST {url.path} HTTP/1.1", f"Host: {url.netloc}", *door.headers]
    head = "\r\n".join([*lines, f"Content-Length: {len(door.body)}", "", ""]).encode()
    with socket.create_connection((url.hostname, url.port), timeout=REST_S) as connection:
        connection.sendall(head + door.body)
        answer = b""
        while len(answer) < _length(answer):
            answer += connection.recv(1 << 20)
    return answer


def _length(answer: bytes) -> int:
    head, end, _ = answer.partition(b"\r\n\r\n")
    if not end:
        return len(answer) + 1
    sizes = [line.split(b":")[1] for line in head.split(b"\r\n") if b"Content-Length" in line[:14]]
    return len(head) + len(end) + int(sizes[0])


def _answer_over_grpc(door: Door) -> bytes:
    url = urlsplit(door.target)
    with grpc.insecure_channel(url.netloc) as channel:
        ask = channel.unary_unary(url.path, None, None)
        answer: bytes = ask(door.body[_FRAME_BYTES:], timeout=REST_S)
    return answer
