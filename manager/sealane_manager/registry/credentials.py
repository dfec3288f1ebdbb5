"""Finds who to be at a registry, where docker, podman and skopeo keep it after a log-in."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sealane_manager.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FILE_BYTES: Final = 1024 * 1024
HELPER_SECONDS: Final = 30.0
"""A credential helper may ask its person something."""

_HELPER: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_BY_TOKEN: Final = "<token>"  # noqa: S105 - the name under which helpers keep a token, not a secret
_HUB: Final = "registry-1.docker.io"
_HUB_ENTRY: Final = "https://index.docker.io/v1/"
"""What `docker login` without a host writes for Docker Hub, whose registry is called otherwise."""

_HINT: Final = "log in again with docker, podman or skopeo"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A name and a password, or a token that gives tokens."""

    user: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of the header Authorization."""
        both = f"{self.user}:{self.password}".encode()
        return f"Basic {base64.b64encode(both).decode()}"


def usual_files(environment: Mapping[str, str], home: Path) -> tuple[Path, ...]:
    """Where credentials are kept, in the order in which they are looked for."""
    if named := environment.get("REGISTRY_AUTH_FILE"):
        return (Path(named),)
    folder = environment.get("DOCKER_CONFIG")
    runtime = environment.get("XDG_RUNTIME_DIR")
    podman = (Path(runtime) / "containers" / "auth.json",) if runtime else ()
    docker = Path(folder) if folder else home / ".docker"
    return (*podman, docker / "config.json")


def find_credentials(files: tuple[Path, ...], host: str, repository: str) -> Credentials | None:
    """Who to be at `host`; None: nobody. Raises Refused when a file cannot be understood."""
    for path in files:
        try:
            with path.open("rb") as file:
                content = file.read(FILE_BYTES)
        except (FileNotFoundError, NotADirectoryError):
            continue
        found = _of_file(path, content, host, repository)
        if found:
            return found
    return None


def _of_file(path: Path, content: bytes, host: str, repository: str) -> Credentials | None:
    try:
        known = json.loads(content)
        helper = known.get("credHelpers", {}).get(host) or known.get("credsStore")
        auths = known.get("auths", {})
        entry = next((auths[key] for key in _keys(host, repository) if key in auths), None)
        found = _of_entry(entry) if entry else None
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise Refused(f"{path} holds no credentials: {error}", hint=_HINT) from error
    if found is None and helper:
        return _of_helper(str(helper), host)
    return found


def _keys(host: str, repository: str) -> Iterator[str]:
    """What an entry for a repository may be called, the closest first."""
    parts = repository.split("/")
    for count in range(len(parts), 0, -1):
        yield "/".join((host, *parts[:count]))
    yield host
    if host == _HUB:
        yield _HUB_ENTRY
    for scheme in ("https", "http"):
        yield from (f"{scheme}://{host}", f"{scheme}://{host}/v1/", f"{scheme}://{host}/v2/")


def _of_entry(entry: Mapping[str, Any]) -> Credentials | None:
    if token := entry.get("identitytoken"):
        return Credentials(identity_token=str(token))
    if both := entry.get("auth"):
        user, colon, password = base64.b64decode(both, validate=True).decode().partition(":")
        if not colon:
            raise ValueError("an entry has no name and password in it")
        return Credentials(user, password.rstrip("\0"))
    if entry.get("username") and entry.get("password"):
        return Credentials(str(entry["username"]), str(entry["password"]))
    return None


def _of_helper(helper: str, host: str) -> Credentials | None:
    """Ask `docker-credential-<helper>`, as docker does."""
    if not _HELPER.fullmatch(helper):
        raise Refused(f"{helper[:40]!r} is not the name of a credential helper", hint=_HINT)
    command = [f"docker-credential-{helper}", "get"]
    try:
        answer = subprocess.run(
            command, input=host.encode(), capture_output=True, check=False, timeout=HELPER_SECONDS
        )
        if answer.returncode:  # it knows nobody for this host
            return None
        found = json.loads(answer.stdout[:FILE_BYTES])
        user, secret = str(found["Username"]), str(found["Secret"])
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError) as error:
        raise Refused(f"{command[0]} gives no credentials: {error}", hint=_HINT) from error
    return Credentials(identity_token=secret) if user == _BY_TOKEN else Credentials(user, secret)
