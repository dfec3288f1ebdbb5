"""`sealane bundle push` and `pull`: bundles to and from OCI registries."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from sealane_manager.cli.output import Format, OutputOption, emit_one, errors, reported
from sealane_manager.registry.access import Access, Door
from sealane_manager.registry.credentials import find_credentials, usual_files
from sealane_manager.registry.origins import registry_origin
from sealane_manager.registry.pull import PullOrder
from sealane_manager.registry.pull import pull as pulled
from sealane_manager.registry.push import PushOrder
from sealane_manager.registry.push import push as pushed
from sealane_manager.registry.receive import Patience
from sealane_manager.registry.reference import Reference, check_repository
from sealane_manager.registry.repository import Repository
from sealane_manager.registry.send import Way

if TYPE_CHECKING:
    from collections.abc import Iterator

_Reference = Annotated[
    str, typer.Argument(metavar="REF", help="host[:port]/repository:tag, or …@sha256:…")
]
CaOption = Annotated[
    Path | None, typer.Option("--ca", help="PEM file with authorities to trust, not the system's")
]
AuthFileOption = Annotated[
    Path | None,
    typer.Option(
        "--auth-file",
        exists=True,
        dir_okay=False,
        help="credentials, as docker, podman and skopeo keep them; default: where those look",
    ),
]
TokenHostOption = Annotated[
    list[str] | None,
    typer.Option("--token-host", help="another host that may see your credentials for a token"),
]
PlainOption = Annotated[
    bool, typer.Option("--plain-http", help="no TLS: for a registry on this machine")
]
OverNetworkOption = Annotated[
    bool,
    typer.Option(
        "--plain-http-over-network",
        help="no TLS to another machine: everybody between can read and delay what is sent",
    ),
]


@dataclass(frozen=True, slots=True)
class _Manner:
    """How a registry is spoken to."""

    ca: Path | None
    auth_file: Path | None
    token_hosts: tuple[str, ...]
    plain: bool
    over_network: bool


def push(
    folder: Annotated[Path, typer.Argument(help="folder of the bundle (an OCI image layout)")],
    reference: _Reference,
    mount_from: Annotated[
        str, typer.Option(help="repository of the same registry whose blobs may be shared")
    ] = "",
    replace: Annotated[
        bool, typer.Option("--replace", help="move a tag that stands for another bundle")
    ] = False,
    ca: CaOption = None,
    auth_file: AuthFileOption = None,
    token_host: TokenHostOption = None,
    plain_http: PlainOption = False,
    plain_http_over_network: OverNetworkOption = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Bring a bundle to an OCI registry: blobs that it lacks, then the manifest."""
    manner = _Manner(ca, auth_file, tuple(token_host or ()), plain_http, plain_http_over_network)
    with reported():
        target = Reference.parse(reference)
        source = check_repository(mount_from) if mount_from else ""
        order = PushOrder(folder, source, replace)
        with _speaking(target, ("pull,push", source), manner) as repository, _bar("pushing") as bar:
            found = pushed(order, repository, _patience(bar))
        emit_one(
            {
                "reference": str(target),
                "digest": found.manifest.digest,
                **{f"{way}_bytes": found.ways.get(way, 0) for way in Way},
            },
            output,
        )


def pull(
    reference: _Reference,
    out: Annotated[Path, typer.Option(help="new folder for the bundle")],
    ca: CaOption = None,
    auth_file: AuthFileOption = None,
    token_host: TokenHostOption = None,
    plain_http: PlainOption = False,
    plain_http_over_network: OverNetworkOption = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Bring a bundle from an OCI registry, verified; a pull that was cut off goes on."""
    manner = _Manner(ca, auth_file, tuple(token_host or ()), plain_http, plain_http_over_network)
    with reported():
        source = Reference.parse(reference)
        with _speaking(source, ("pull", ""), manner) as repository, _bar("pulling") as bar:
            order = PullOrder(out, _free, bar.total)
            manifest = pulled(order, repository, _patience(bar))
        emit_one(
            {"folder": str(out), "digest": manifest.digest, "files": len(manifest.layers)}, output
        )


@contextmanager
def _speaking(
    reference: Reference, rights: tuple[str, str], manner: _Manner
) -> Iterator[Repository]:
    """A connection; `rights`: what is done in the repository, and which other one is read."""
    from sealane_manager.registry.wire import (  # noqa: PLC0415 - no other command shall wait for it
        Wire,
    )

    origin = registry_origin(reference.host, plain=manner.plain, over_network=manner.over_network)
    if not origin.is_private:
        errors.print(
            f"warning: no TLS to {reference.host}: everybody between sees and may change what is "
            "sent, and no credentials are used",
            style="bold red",
            markup=False,
        )
    actions, other = rights
    scopes = [f"repository:{reference.repository}:{actions}"]
    scopes += [f"repository:{other}:pull"] if other else []
    files = (manner.auth_file,) if manner.auth_file else usual_files(os.environ, Path.home())
    credentials = find_credentials(files, reference.host, reference.repository)
    door = Door(reference.host, origin, tuple(scopes), credentials, manner.token_hosts)
    wire = Wire(manner.ca)
    try:
        yield Repository(Access(wire, door), reference)
    finally:
        wire.close()


class _Bar:
    """A bar that is told how much there is, and then how much more is done."""

    def __init__(self, progress: Progress, word: str) -> None:
        self._progress, self._task = progress, progress.add_task(word, total=None)

    def total(self, size: int) -> None:
        """So much is to be done."""
        self._progress.update(self._task, total=size)

    def advance(self, size: int) -> None:
        """So much more is done."""
        self._progress.advance(self._task, size)


@contextmanager
def _bar(word: str) -> Iterator[_Bar]:
    columns = (TextColumn(word), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    silent = not errors.is_terminal
    with Progress(*columns, console=errors, transient=True, disable=silent) as progress:
        yield _Bar(progress, word)


def _patience(bar: _Bar) -> Patience:
    return Patience(time.sleep, time.monotonic, bar.advance)


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free
