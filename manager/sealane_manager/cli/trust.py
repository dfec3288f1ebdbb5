"""`sealane trust`: who may sign what in this fleet, and the changes that wait for signatures."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from sealane import fileio
from sealane.clock import SystemClock
from tuf.api.metadata import Root

from sealane_manager.cli import changes as words
from sealane_manager.cli import trust_edits
from sealane_manager.cli.context import ContextOption  # noqa: TC001 - Typer reads annotations
from sealane_manager.cli.desk import (
    KeyOption,
    StateOption,
    YesOption,
    ask_secret,
    new_passphrase,
    room,
)
from sealane_manager.cli.output import Format, OutputOption, emit, errors, reported
from sealane_manager.cli.signing import Pen, open_pen
from sealane_manager.errors import Refused
from sealane_manager.layout import StateFolder
from sealane_manager.shown import shown
from sealane_manager.trust.change_codec import FILE_BYTES, Carried, decode_file, encode_file
from sealane_manager.trust.changes import encode, parse
from sealane_manager.trust.overview import roles_of, root_fingerprint, soon_over
from sealane_manager.trust.proposals import Look, look, offer_of, root_first, signed
from sealane_manager.trust.settings import FleetSettings
from sealane_manager.trust.signers import (
    PUBLIC_SUFFIX,
    import_key,
    new_key_file,
    write_public,
)

if TYPE_CHECKING:
    from sealane_manager.cli.desk import Room
    from sealane_manager.trust.changes import Change, Outcome
    from sealane_manager.trust.overview import RoleView

app = typer.Typer(no_args_is_help=True, help="Who may sign what in this fleet.")
trust_edits.add_to(app)

_COLUMNS: Final = ("role", "version", "expires", "threshold", "keys", "signs")
_KEY_CHARS: Final = 12


@app.command()
def show(
    state: StateOption = None, output: OutputOption = Format.TABLE, context: ContextOption = None
) -> None:
    """Show every role: its version, until when it is valid, who signs and how many must."""
    with reported(), room(state, context) as place:
        if output is Format.TABLE:
            typer.echo(
                f"fleet {place.fleet}, root.json sha256:{root_fingerprint(place.desk.get_metadata)}"
            )
        views = roles_of(place.desk.get_metadata)
        emit([_row(view, output) for view in views], _COLUMNS, output)
        for sentence in soon_over(views, SystemClock().now()):
            errors.print(f"warning: {sentence}", style="yellow", markup=False)
        if state and FleetSettings.load(StateFolder(state).settings).development:
            errors.print("development mode: every key lies on this machine", style="bold red")


@app.command()
def status(
    state: StateOption = None, output: OutputOption = Format.TABLE, context: ContextOption = None
) -> None:
    """Show the changes that wait: what each does, who has signed and who must still sign."""
    with reported(), room(state, context) as place:
        found = look(place.desk)
        waiting = root_first(found.waiting.values())
        if output is Format.JSON:
            emit([words.row(found, change) for change in waiting], (), output)
            return
        for change in waiting:
            words.tell(found, change)
        if not waiting:
            typer.echo("no change waits for signatures")


@app.command("new-key")
def new_key(
    holder: Annotated[str, typer.Argument(help="who holds the key: a short name")],
    out: Annotated[Path, typer.Option(help="folder for the key")] = Path(),
    uri: Annotated[
        str,
        typer.Option(help="a key that exists already in a token or a service: hsm:2, awskms:ID, …"),
    ] = "",
) -> None:
    """Make a signing key on this machine, or take one of a token; the public file is for others."""
    with reported():
        public = out / f"{holder}{PUBLIC_SUFFIX}"
        private = out / f"{holder}.pem"
        if uri:
            found, key = import_key(uri, holder, ask_secret)
            write_public(public, key, found)
            private = public
        else:
            if public.exists():
                raise Refused(
                    f"{public} exists", hint="a key is never overwritten: choose another name"
                )
            key = new_key_file(private, holder, new_passphrase())
            write_public(public, key)
        typer.echo(f"key id       {key.keyid}")
        typer.echo(f"private key  {private if not uri else found}")
        typer.echo(f"public key   {public}")
        typer.echo("next: give the public file to whoever prepares the change, and read them the")
        typer.echo("      key id over another channel, so that nobody can exchange the file.")
        typer.echo(f"      You sign with: sealane trust sign --key {private}")


@app.command()
def sign(
    file: Annotated[
        Path | None, typer.Argument(help="file with changes; without it the manager is asked")
    ] = None,
    key: KeyOption = None,
    role: Annotated[
        str, typer.Option(help="only the change of this role; default: all it may sign")
    ] = "",
    yes: YesOption = False,
    state: StateOption = None,
    context: ContextOption = None,
) -> None:
    """Look at the changes that wait, and sign those that this key may sign."""
    with reported():
        pens = [open_pen(path) for path in key or ()]
        if not pens:
            raise Refused("nobody signs", hint="name your key with --key")
        if file:
            _sign_file(file, pens, role, yes=yes)
            return
        with room(state, context) as place:
            outcomes = [outcome for pen in pens for outcome in _sign_at(place, pen, role, yes=yes)]
        if outcomes:
            words.tell_outcomes(outcomes)


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="new file for the changes")],
    state: StateOption = None,
    context: ContextOption = None,
) -> None:
    """Write the changes that wait to a file, to be signed where there is no network."""
    with reported(), room(state, context) as place:
        found = look(place.desk, since=0)
        if not found.pending:
            raise Refused("no change waits for signatures")
        current = {role: encode(document) for role, document in found.current.items()}
        waiting = tuple(found.waiting[role] for role in found.pending)
        roots = tuple(encode(found.roots[version]) for version in sorted(found.roots))
        content = _fitting(Carried(place.fleet, tuple(root_first(waiting)), current, roots))
        fileio.replace(file, content, 0o644)
        typer.echo(f"{len(waiting)} changes are in {file}; it holds no secret")
        typer.echo("next: carry it to a holder, who looks and signs:")
        typer.echo(f"        sealane trust sign {file.name} --key THEIR-KEY")
        typer.echo(f"      carry it back and: sealane trust submit {file.name}")


def _fitting(carried: Carried) -> bytes:
    content = encode_file(carried)
    if len(content) > FILE_BYTES:
        raise Refused(
            f"the changes are larger than {FILE_BYTES} bytes",
            hint="let the holders sign over the network: sealane trust sign --key THEIR-KEY",
        )
    return content


@app.command()
def submit(
    file: Annotated[Path, typer.Argument(help="file that `trust sign` signed")],
    state: StateOption = None,
    context: ContextOption = None,
) -> None:
    """Bring the signatures in a file to the manager; what is complete is published."""
    with reported(), room(state, context) as place:
        carried = decode_file(file.read_bytes())
        found = look(place.desk)
        outcomes = []
        for change in carried.changes:
            waiting = found.waiting.get(change.role)
            if waiting is None or waiting.fingerprint != change.fingerprint:
                raise Refused(
                    f"the change of {change.role} in {file} is not the one that waits now",
                    hint="it was changed, published or withdrawn: export it again",
                )
            outcomes.append(place.desk.submit(offer_of(change)))
        words.tell_outcomes(outcomes)


@app.command()
def withdraw(
    role: Annotated[str, typer.Argument(help="whose change is to be forgotten")],
    state: StateOption = None,
    context: ContextOption = None,
) -> None:
    """Forget a change that waits, with its signatures."""
    with reported(), room(state, context) as place:
        place.desk.withdraw(role)
        typer.echo(f"the change of {role} is withdrawn; nothing was published")


def _sign_at(place: Room, pen: Pen, role: str, *, yes: bool) -> list[Outcome]:
    found = pen.look(place.desk, place.fleet)
    return [
        place.desk.submit(offer_of(signed(change, pen.signer)))
        for change in _to_sign(found, pen, role)
        if _agreed(found, change, yes=yes)
    ]


def _sign_file(file: Path, pens: list[Pen], role: str, *, yes: bool) -> None:
    if file.stat().st_size > FILE_BYTES:
        raise Refused(f"{file} is larger than {FILE_BYTES} bytes")
    carried = decode_file(file.read_bytes())
    current = {name: parse(name, content) for name, content in carried.current.items()}
    earlier = [parse(Root.type, content) for content in carried.roots]
    roots = {root.signed.version: root for root in earlier}
    waiting = {change.role: change for change in carried.changes}
    typer.echo(f"fleet {shown(carried.fleet)}")
    count = 0
    for pen in pens:
        found = Look(current, waiting, roots)
        pen.witness(found, carried.fleet)
        for change in _to_sign(found, pen, role):
            if _agreed(found, change, yes=yes):
                waiting[change.role] = signed(change, pen.signer)
                count += 1
    if count:
        changes = tuple(root_first(waiting.values()))
        fileio.replace(file, encode_file(replace(carried, changes=changes)), 0o644)
        typer.echo(f"{count} signatures are in {file}")
        typer.echo(f"next: carry it back and: sealane trust submit {file.name}")


def _to_sign(found: Look, pen: Pen, role: str) -> list[Change]:
    changes = [
        change for change in root_first(found.for_key(pen.keyid)) if not role or change.role == role
    ]
    if not changes:
        typer.echo(f"nothing waits for a signature by {pen.keyid[:_KEY_CHARS]}")
    return changes


def _agreed(found: Look, change: Change, *, yes: bool) -> bool:
    words.tell(found, change)
    words.judge(found, change)
    typer.echo("  check: is this all that you were told, and does the proposer read you the same")
    typer.echo("         fingerprint? What you sign cannot be taken back, only replaced.")
    return yes or typer.confirm("Sign it?")


def _row(view: RoleView, output: Format) -> dict[str, Any]:
    row = asdict(view)
    if output is Format.JSON:
        return row
    holders = zip(view.keys, view.holders, strict=True)
    row["keys"] = " ".join(holder or key[:_KEY_CHARS] for key, holder in holders)
    row["version"] = view.version or "-"
    row["expires"] = f"{view.expires:%Y-%m-%d}" if view.expires else "-"
    return row
