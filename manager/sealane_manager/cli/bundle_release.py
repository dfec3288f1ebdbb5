"""The commands of `sealane bundle` that make a bundle a release, and take it back."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from sealane.bundle.check import check_agent_layout, check_layout
from sealane.bundle.layout import read_layout
from sealane.bundle.manifest import AGENT_ARTIFACT
from sealane.names import ReleaseName, hex_of, parse_slot
from sealane.trust.requirements import KNOWN

from sealane_manager.bundle import publish as publishing
from sealane_manager.cli import changes as words
from sealane_manager.cli.arguments import parse_labels
from sealane_manager.cli.context import ContextOption, connect, context_folder
from sealane_manager.cli.desk import (  # noqa: TC001 - Typer reads annotations
    KeyOption,
    ReasonOption,
    YesOption,
)
from sealane_manager.cli.output import Format, OutputOption, emit_one, errors, reported
from sealane_manager.cli.signing import WitnessedDesk, open_pen
from sealane_manager.errors import NotKnown, Refused
from sealane_manager.shown import LINE_CHARS, shown
from sealane_manager.trust.describe import kept_inputs
from sealane_manager.trust.keys import key_path
from sealane_manager.trust.proposals import look, offer_of, signed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sealane_manager.bundle.publish import Published
    from sealane_manager.client import Operator
    from sealane_manager.trust.changes import Change, Outcome
    from sealane_manager.trust.proposals import Look

FolderArgument = Annotated[Path, typer.Argument(help="folder of the bundle (an OCI image layout)")]
NameArgument = Annotated[str, typer.Argument(metavar="RELEASE", help="family/model@version")]
ReleaseOption = Annotated[str, typer.Option(help="family/model@version")]
SlotOption = Annotated[list[str] | None, typer.Option(help="where it may serve; any if none")]
RequiresOption = Annotated[
    list[str] | None, typer.Option(help="what a device must have: arch=x86_64, cpus=4")
]
KeysOption = Annotated[
    Path | None,
    typer.Option(help="folder with FAMILY.pem, instead of --key; default beside the context"),
]


def add_to(app: typer.Typer) -> None:
    """Add these commands to `sealane bundle`."""
    for command in (propose, approve, publish, revoke):
        app.command()(command)


def propose(
    folder: FolderArgument,
    release: ReleaseOption,
    slot: SlotOption = None,
    requires: RequiresOption = None,
    reason: ReasonOption = "",
    output: OutputOption = Format.TABLE,
    context: ContextOption = None,
) -> None:
    """Upload a bundle and propose it as a release; those who approve it sign afterwards."""
    order = _order(folder, release, (slot, requires), reason)
    with reported(), connect(context) as manager:
        with _upload_bar() as progress:
            proposed = publishing.propose(order, manager, progress)
        _report(manager, order.release, proposed, output)


def approve(
    release: NameArgument,
    key: KeyOption = None,
    bundle: Annotated[
        Path | None, typer.Option(help="your own copy of the bundle: must be the one proposed")
    ] = None,
    yes: YesOption = False,
    context: ContextOption = None,
) -> None:
    """Look at a proposed release and sign it; with enough signatures it is published."""
    with reported(), connect(context) as manager:
        name = ReleaseName.parse(release)
        pens = [open_pen(path) for path in key or ()]
        if not pens:
            raise Refused("nobody signs", hint="name your key with --key")
        outcomes = []
        for pen in pens:
            found = pen.look(manager, manager.fleet)
            change = _proposal(found, name)
            if bundle:
                _same_bundle(change, name, bundle)
            words.judge(found, change)
            words.tell(found, change)
            _tell_bundle(name, bundle)
            typer.echo("  check: is this what was tested, for the slots where it shall serve?")
            if yes or typer.confirm(f"Sign it with {pen.path}?"):
                outcomes.append(manager.submit(offer_of(signed(change, pen.signer))))
        _tell_approved(manager, name, outcomes)


def publish(
    folder: FolderArgument,
    release: ReleaseOption,
    slot: SlotOption = None,
    requires: RequiresOption = None,
    key: Annotated[
        Path | None,
        typer.Option(help="private key file, or the public file of a key in a token or a service"),
    ] = None,
    keys: KeysOption = None,
    reason: ReasonOption = "",
    output: OutputOption = Format.TABLE,
    context: ContextOption = None,
) -> None:
    """Upload a bundle and sign it as a release; it is listed once enough keys have signed."""
    order = _order(folder, release, (slot, requires), reason)
    with reported():
        kept = keys or context_folder(context).parent / "keys"
        pen = open_pen(key or key_path(kept, order.release.family))
        with connect(context) as manager:
            desk = WitnessedDesk(manager, pen) if key or keys else manager
            with _upload_bar() as progress:
                published = publishing.publish(order, desk, pen.signer, progress)
            _report(manager, order.release, published, output)


def revoke(
    release: NameArgument,
    reason: Annotated[str, typer.Option(help="why; it stands in the log")],
    key: KeyOption = None,
    keys: KeysOption = None,
    context: ContextOption = None,
) -> None:
    """Take a release off the list: no device begins to run it, what runs goes on."""
    with reported():
        name = ReleaseName.parse(release)
        kept = keys or context_folder(context).parent / "keys"
        path = key[0] if key else key_path(kept, name.family)
        with connect(context) as manager:
            pen = open_pen(path)
            desk = WitnessedDesk(manager, pen) if key or keys else manager
            outcome = publishing.revoke(name, desk, reason, pen.signer)
            if outcome.published:
                typer.echo(f"{name} is revoked: no device begins to run it any more")
                typer.echo("what runs it goes on; next: roll another release out to those devices")
                return
            found = look(manager)
            words.tell(found, found.waiting[name.family])
            typer.echo(f"{name} is still listed: next, another holder signs with")
            typer.echo("        sealane trust sign --key THEIR-KEY")


def _order(
    folder: Path, release: str, where: tuple[list[str] | None, list[str] | None], reason: str
) -> publishing.PublishOrder:
    slots, requires = where
    needs = {key: _requirement(value) for key, value in parse_labels(requires or []).items()}
    for key in sorted({*needs} - {*KNOWN}):
        errors.print(
            f"warning: agents of this version do not know the requirement {shown(key)!r},"
            f" so none of them runs the release; they know {', '.join(KNOWN)}",
            style="yellow",
            markup=False,
        )
    with reported():
        name = ReleaseName.parse(release)
        places = tuple(parse_slot(text) for text in slots or ())
        return publishing.PublishOrder(folder, name, places, needs, reason)


def _requirement(text: str) -> int | list[str]:
    """A number is a least amount; words with commas are alternatives."""
    return int(text) if text.isascii() and text.isdigit() else text.split(",")


def _proposal(found: Look, name: ReleaseName) -> Change:
    change = found.waiting.get(name.family)
    document = found.pending.get(name.family)
    if change is None or document is None or name.target_path not in document.signed.targets:
        raise NotKnown(
            f"{name} is not proposed", hint="`sealane trust status` shows what waits for signatures"
        )
    return change


def _tell_bundle(name: ReleaseName, bundle: Path | None) -> None:
    """What the bundle itself permits, which only who has a copy of it can say."""
    if bundle is None:
        typer.echo("  with --bundle your own copy is compared, and what it lets be kept is shown")
        return
    typer.echo(f"  {bundle} is the bundle that is proposed as {name}")
    if read_layout(bundle).artifact == AGENT_ARTIFACT:
        typer.echo("  it is a version of the agent itself")
        return
    typer.echo(shown(f"  {kept_inputs(check_layout(bundle)[1].sampling)}", LINE_CHARS))


def _same_bundle(change: Change, name: ReleaseName, folder: Path) -> None:
    agent = read_layout(folder).artifact == AGENT_ARTIFACT
    manifest, _ = check_agent_layout(folder) if agent else check_layout(folder)
    proposed = change.document.signed.targets[name.target_path]
    if proposed.hashes.get("sha256") != hex_of(manifest.digest):
        raise Refused(
            f"{folder} is another bundle than the one that is proposed as {name}",
            hint="do not sign: ask who proposed it where the bundle comes from",
        )


def _tell_approved(manager: Operator, name: ReleaseName, outcomes: list[Outcome]) -> None:
    if any(outcome.published for outcome in outcomes):
        typer.echo(f"{name} is published; next: sealane rollout start {name} --slot SLOT")
    elif outcomes:
        found = look(manager)
        typer.echo(f"signed; {name} {words.missing(found, found.waiting[name.family])}")


def _report(manager: Operator, name: ReleaseName, published: Published, output: Format) -> None:
    row: dict[str, Any] = {
        "release": str(name),
        "digest": published.manifest.digest,
        "uploaded_bytes": published.uploaded_bytes,
        "snapshot": published.snapshot,
    }
    if published.snapshot:
        emit_one(row, output)
        return
    found = look(manager)
    change = found.waiting[name.family]
    row |= {"waits": words.missing(found, change), "fingerprint": words.short(change.fingerprint)}
    emit_one(row, output)
    if output is Format.TABLE:
        typer.echo(f"next: those who approve it run: sealane bundle approve {name} --key THEIR-KEY")


@contextmanager
def _upload_bar() -> Iterator[Callable[[int, int], None]]:
    columns = (TextColumn("uploading"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    silent = not errors.is_terminal
    with Progress(*columns, console=errors, transient=True, disable=silent) as bar:
        task = bar.add_task("uploading", total=None)
        yield lambda sent, total: bar.update(task, completed=sent, total=total)
