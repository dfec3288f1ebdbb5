"""`sealane operator`: certificates with which people and pipelines call the manager.

They belong to users: what each may do, and at which sites, is the user's role.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sealane.clock import SystemClock
from sealane.limits import CSR_BYTES
from sealane.trust.identity import make_csr

from sealane_manager import operator_folder
from sealane_manager.cli.output import Format, OutputOption, emit, reported
from sealane_manager.cli.people import NameArgument, SitesOption, StateOption, here, kept
from sealane_manager.errors import Refused
from sealane_manager.layout import StateFolder
from sealane_manager.people.access import Role, parse_grant

if TYPE_CHECKING:
    from sealane_manager.store.records import OperatorCertificate, User
    from sealane_manager.store.store import Store

app = typer.Typer(no_args_is_help=True, help="Certificates with which people call the manager.")

FolderArgument = Annotated[Path, typer.Argument(help="folder for the operator's context")]
ReasonOption = Annotated[str, typer.Option(help="why, for the audit log")]

_COLUMNS: Final = ("name", "role", "sites", "key", "issued_at", "expires_at", "state")
_KEY_CHARS: Final = 16
_COUNTS: Final = "counts"


@app.command()
def request(folder: FolderArgument) -> None:
    """Ask for a certificate: the key stays in the folder, the request is printed."""
    with reported():
        exists = (folder / operator_folder.KEY).exists()
        make = operator_folder.read_key if exists else operator_folder.make_key
        csr = x509.load_der_x509_csr(make_csr(make(folder)))
        typer.echo(csr.public_bytes(Encoding.PEM).decode(), nl=False)


@app.command()
def issue(
    name: NameArgument,
    folder: FolderArgument,
    state: StateOption,
    role: Annotated[
        Role | None, typer.Option(help="what a new user may do; others have a role")
    ] = None,
    site: SitesOption = None,
    request: Annotated[
        Path | None, typer.Option(help="what `sealane operator request` printed on their machine")
    ] = None,
    reason: ReasonOption = "",
) -> None:
    """Let somebody call the manager: certify a key, and write the folder to call with."""
    with reported():
        grant = parse_grant(role, site or ()) if role else None
        csr = _read(request) if request else make_csr(operator_folder.make_key(folder))
        operator_folder.write_context(folder, _issued(state, (name, csr, reason), grant))
    typer.echo(f"{name} may call the manager with {folder}")
    typer.echo(
        "next: copy it beside the key" if request else "next: bring it there; it holds the key"
    )


@app.command()
def revoke(
    name: NameArgument,
    state: StateOption,
    key: Annotated[str, typer.Option(help="only the one whose key begins so")] = "",
    reason: ReasonOption = "",
) -> None:
    """Let an operator's certificates count no more; what is open with them ends at once."""
    from sealane_manager.store.records import By  # noqa: PLC0415 - no other command shall wait

    with reported(), kept(state) as store:
        by = By(here(), reason, SystemClock().now())
        count = store.certificates.revoke(name, key, by)
        rows, before = _rows(store, Format.JSON), store.certificates.unlisted_before()
    typer.echo(f"{count} of {name} revoked")
    if not before and (Role.ADMIN, _COUNTS) not in {(each["role"], each["state"]) for each in rows}:
        typer.echo("no administrator's certificate counts now; next:")
        typer.echo("        sealane operator issue NAME FOLDER --role admin")


@app.command()
def settle(state: StateOption, reason: ReasonOption = "") -> None:
    """Let no certificate in any more that is from before certificates were listed."""
    from sealane_manager.store.records import By  # noqa: PLC0415 - no other command shall wait

    with reported(), kept(state) as store:
        settled = store.certificates.settle(By(here(), reason, SystemClock().now()))
    typer.echo("only listed certificates count" + ("" if settled else ", as before"))


@app.command("list")
def list_certificates(state: StateOption, output: OutputOption = Format.TABLE) -> None:
    """Show the certificates, whose they are, and what their users may do."""
    with reported(), kept(state) as store:
        rows, before = _rows(store, output), store.certificates.unlisted_before()
    emit(rows, _COLUMNS, output)
    if before and output is Format.TABLE:
        typer.echo(f"also counts what was issued before {before:%Y-%m-%d %H:%M} UTC,")
        typer.echo("as an administrator's, until: sealane operator settle")


def _issued(state: Path, wanted: tuple[str, bytes, str], grant: Any) -> operator_folder.Context:
    from sealane_manager.identity.ca import Issuer  # noqa: PLC0415 - no other command shall wait
    from sealane_manager.people.certificates import (  # noqa: PLC0415 - the same
        Certificates,
        Wanted,
    )
    from sealane_manager.trust.settings import FleetSettings  # noqa: PLC0415 - the same

    place, (name, csr, reason) = StateFolder(state), wanted
    with kept(state) as store:
        fleet = FleetSettings.load(place.settings).fleet
        issuer = Issuer(place.ca, SystemClock())
        certificates = Certificates(store.certificates, SystemClock())
        pem = certificates.issue(issuer, Wanted(fleet, name, csr, grant, reason), here())
    address = operator_folder.address_in(place.operator)
    return operator_folder.Context(fleet, address, pem, issuer.bundle)


def _read(path: Path) -> bytes:
    """A request, DER; raises OSError or Refused."""
    with path.open("rb") as file:
        content = file.read(2 * CSR_BYTES)
    try:
        return x509.load_pem_x509_csr(content).public_bytes(Encoding.DER)
    except ValueError as error:
        raise Refused(
            f"{path} is no request", hint="sealane operator request prints one"
        ) from error


def _rows(store: Store, output: Format) -> list[dict[str, Any]]:
    users = {user.name: user for user in store.accounts.users()}
    return [_row(each, users.get(each.user), output) for each in store.certificates.list()]


def _row(each: OperatorCertificate, user: User | None, output: Format) -> dict[str, Any]:
    over = each.expires_at <= SystemClock().now()
    return {
        "name": each.user,
        "role": user.grant.role if user else "",
        "sites": ",".join(sorted(user.grant.sites)) if user else "",
        "key": each.key if output is Format.JSON else each.key[:_KEY_CHARS],
        "issued_at": each.issued_at,
        "expires_at": each.expires_at,
        "state": "revoked" if each.revoked_at else "expired" if over else _COUNTS,
    }
