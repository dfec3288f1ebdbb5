"""Registries to try the client with: one in memory that may lie, and Debian's docker-registry."""

from __future__ import annotations

import hashlib
import re
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from sealane.bundle.layout import blob_path, read_layout
from sealane.bundle.manifest import OCI_MANIFEST
from sealane_manager.registry.access import Access, Door
from sealane_manager.registry.origins import registry_origin
from sealane_manager.registry.pull import PullOrder, pull
from sealane_manager.registry.push import PushOrder, push
from sealane_manager.registry.receive import Patience
from sealane_manager.registry.reference import Reference
from sealane_manager.registry.repository import Repository
from sealane_manager.registry.wire import Wire
from support.debian import needs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from sealane.bundle.types import Manifest
    from sealane_manager.registry.credentials import Credentials
    from sealane_manager.registry.push import Pushed

    Lie = Callable[["Asked"], "Reply | None"]

PLENTY = 1 << 40


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back; a body of several parts goes without a length, until the asker hangs up."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Iterable[bytes] = b""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """An asker that hangs up is what many of these tests are about."""


class FakeRegistry:
    """A registry on a port of loopback that does what its protocol says, unless it is told to lie.

    A lie is a function of the request that returns a reply, or None for the honest one.
    """

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.uploads: dict[str, bytes] = {}
        self.asked: list[Asked] = []
        self.lies: list[Lie] = []
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.title(): value for name, value in self.headers.items()}
                registry.answer(self, Asked(self.command, self.path, headers, body))

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = _answer  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = _Server(("127.0.0.1", 0), Handler)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def hold(self, layout: Path, *names: str) -> Manifest:
        """Have a bundle under its digest and these tags."""
        manifest = read_layout(layout)
        for layer in (manifest.config, *manifest.layers):
            self.blobs[layer.digest] = blob_path(layout, layer.digest).read_bytes()
        for name in (*names, manifest.digest):
            self.manifests[name] = manifest.content
        return manifest

    def answer(self, handler: BaseHTTPRequestHandler, asked: Asked) -> None:
        self.asked.append(asked)
        found = (reply for lie in self.lies if (reply := lie(asked)) is not None)
        reply = next(found, None) or self._honest(asked)
        try:
            _write(handler, reply)
        except OSError:
            handler.close_connection = True

    def _honest(self, asked: Asked) -> Reply:
        path = urlsplit(asked.path)
        query = {key: values[0] for key, values in parse_qs(path.query).items()}
        kind, _, name = path.path.rpartition("/")
        if kind.endswith("/manifests"):
            return self._manifest(asked, name)
        if kind.endswith("/uploads"):
            return self._upload(asked, name, query)
        content = self.blobs.get(name)
        if content is None:
            return Reply(404)
        return _part(content, asked.headers.get("Range", ""))

    def _manifest(self, asked: Asked, name: str) -> Reply:
        if asked.method == "PUT":
            digest = f"sha256:{hashlib.sha256(asked.body).hexdigest()}"
            self.manifests[name] = self.manifests[digest] = asked.body
            return Reply(201)
        content = self.manifests.get(name)
        if content is None:
            return Reply(404)
        return Reply(200, {"Content-Type": OCI_MANIFEST}, content)

    def _upload(self, asked: Asked, name: str, query: Mapping[str, str]) -> Reply:
        if asked.method == "POST":
            name = str(len(self.uploads))
            self.uploads[name] = b""
        if asked.method in {"PATCH", "PUT"}:
            self.uploads[name] += asked.body
        if asked.method == "PUT":
            content, digest = self.uploads[name], query["digest"]
            if f"sha256:{hashlib.sha256(content).hexdigest()}" != digest:
                return Reply(400)
            self.blobs[digest] = content
            return Reply(201)
        where = {"Location": f"/v2/r/blobs/uploads/{name}"}
        where["Range"] = f"0-{max(0, len(self.uploads[name]) - 1)}"
        return Reply(204 if asked.method == "GET" else 202, where)


def _part(content: bytes, wanted: str) -> Reply:
    found = re.fullmatch(r"bytes=(\d+)-", wanted)
    if not found:
        return Reply(200, {}, content)
    start = int(found[1])
    where = f"bytes {start}-{len(content) - 1}/{len(content)}"
    return Reply(206, {"Content-Range": where}, content[start:])


def _write(handler: BaseHTTPRequestHandler, reply: Reply) -> None:
    handler.send_response(reply.status)
    for name, value in reply.headers.items():
        handler.send_header(name, value)
    parts = [reply.body] if isinstance(reply.body, bytes) else reply.body
    if not isinstance(reply.body, bytes):
        handler.close_connection = True
        handler.send_header("Connection", "close")
    elif "Content-Length" not in reply.headers and reply.status != 204:
        handler.send_header("Content-Length", str(len(reply.body)))
    handler.end_headers()
    if handler.command == "HEAD":
        return
    for part in parts:
        handler.wfile.write(part)
    if reply.headers.get("Content-Length", "") not in {"", "0"}:
        handler.close_connection = True


@contextmanager
def registry() -> Iterator[FakeRegistry]:
    """A registry in memory that answers while the block lasts."""
    found = FakeRegistry()
    found.start()
    try:
        yield found
    finally:
        found.stop()


@dataclass
class Client:
    """The client, with a clock that only moves when it is told to or when it waits."""

    host: str
    credentials: Credentials | None = None
    token_hosts: tuple[str, ...] = ()
    now: float = 0.0
    tick: float = 0.0
    done: int = 0
    ca: Path | None = None

    def pull(self, named: str, out: Path) -> Manifest:
        with self._repository(named, "pull") as repository:
            order = PullOrder(out, lambda _: PLENTY, lambda _: None)
            return pull(order, repository, self._patience())

    def push(self, layout: Path, named: str, source: str = "", *, replace: bool = False) -> Pushed:
        with self._repository(named, "pull,push") as repository:
            return push(PushOrder(layout, source, replace), repository, self._patience())

    @contextmanager
    def _repository(self, named: str, actions: str) -> Iterator[Repository]:
        reference = Reference.parse(f"{self.host}/{named}")
        origin = registry_origin(self.host, plain=self.ca is None, over_network=False)
        scopes = (f"repository:{reference.repository}:{actions}",)
        wire = Wire(self.ca)
        door = Door(self.host, origin, scopes, self.credentials, self.token_hosts)
        try:
            yield Repository(Access(wire, door), reference)
        finally:
            wire.close()

    def _patience(self) -> Patience:
        return Patience(self._wait, self._look, self._count)

    def _wait(self, seconds: float) -> None:
        self.now += seconds

    def _look(self) -> float:
        self.now += self.tick
        return self.now

    def _count(self, size: int) -> None:
        self.done += size


@contextmanager
def docker_registry(folder: Path, *settings: str) -> Iterator[str]:
    """Debian's docker-registry on a free port; yields its host. `settings` are lines of YAML."""
    program = needs("docker-registry")
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "registry.yml"
    lines = (
        "version: 0.1",
        f"storage: {{filesystem: {{rootdirectory: {folder / 'store'}}}}}",
        *(settings or ('http: {addr: "127.0.0.1:0"}',)),
    )
    configuration.write_text("\n".join(lines) + "\n")
    with subprocess.Popen(
        [program, "serve", configuration],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        try:
            yield _listening(process.stderr)
        finally:
            process.terminate()
            process.wait(timeout=30)


def _listening(log: Iterable[str]) -> str:
    """The host that the registry says it listens on; its further words are read and forgotten."""
    said = []
    for line in log:
        said.append(line)
        if found := re.search(r"listening on (127\.0\.0\.1:\d+)", line):
            threading.Thread(target=lambda: [*log], daemon=True).start()
            return found[1]
    raise AssertionError("".join(said))
