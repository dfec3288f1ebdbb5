"""`sealane user`: who there is, and who may log in; works on the manager's own state folder."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from sealane.clock import SystemClock

from sealane_manager.cli.output import Format, OutputOption, emit, reported
from sealane_manager.cli.people import NameArgument, SitesOption, StateOption, here, kept
from sealane_manager.errors import Refused
from sealane_manager.people.access import Role, parse_grant

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sealane_manager.people.accounts import Accounts

app = typer.Typer(
    no_args_is_help=True, help="People: what each may do, and passwords for the dashboard."
)

RoleOption = Annotated[Role, typer.Option(help="what the user may do")]
StdinOption = Annotated[
    bool, typer.Option("--password-stdin", help="read the password from standard input")
]


@contextmanager
def _accounts(state: Path) -> Iterator[Accounts]:
    from sealane_manager.people.accounts import (  # noqa: PLC0415 - no other command shall wait for it
        Accounts,
    )

    with kept(state) as store:
        yield Accounts(store.accounts, SystemClock())


def _password(*, stdin: bool) -> str:
    if stdin:
        return sys.stdin.readline().rstrip("\n")
    if not sys.stdin.isatty():
        raise Refused(
            "there is nobody to ask for the password",
            hint="let --password-stdin read it from the standard input",
        )
    asked: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    return asked


@app.command()
def add(
    name: NameArgument,
    state: StateOption,
    role: RoleOption = Role.VIEWER,
    site: SitesOption = None,
    password_stdin: StdinOption = False,
) -> None:
    """Let somebody log in."""
    with reported(), _accounts(state) as accounts:
        password = _password(stdin=password_stdin)
        grant = parse_grant(role, site or ())
        accounts.add_user(name, grant, password, here())
    typer.echo(f"{name} may log in as {grant}")


@app.command()
def password(name: NameArgument, state: StateOption, password_stdin: StdinOption = False) -> None:
    """Give a user another password; ends the user's sessions."""
    with reported(), _accounts(state) as accounts:
        new = _password(stdin=password_stdin)
        accounts.set_password(name, new, here())
    typer.echo(f"{name} has a new password")


@app.command()
def role(
    name: NameArgument,
    new: Annotated[Role, typer.Argument()],
    state: StateOption,
    site: SitesOption = None,
) -> None:
    """Give a user another role."""
    from sealane_manager.store.records import By  # noqa: PLC0415 - no other command shall wait

    with reported(), _accounts(state) as accounts:
        grant = parse_grant(new, site or ())
        accounts.kept.set_grant(name, grant, By(here(), "", SystemClock().now()))
    typer.echo(f"{name} is {grant}")


@app.command()
def remove(name: NameArgument, state: StateOption) -> None:
    """Never let a user in again."""
    from sealane_manager.store.records import By  # noqa: PLC0415 - no other command shall wait

    with reported(), _accounts(state) as accounts:
        accounts.kept.remove_user(name, By(here(), "", SystemClock().now()))
    typer.echo(f"{name} is removed")


@app.command("list")
def list_users(state: StateOption, output: OutputOption = Format.TABLE) -> None:
    """Show who may log in."""
    with reported(), _accounts(state) as accounts:
        rows = [
            {
                "name": user.name,
                "role": user.grant.role,
                "sites": ",".join(sorted(user.grant.sites)),
                "created_at": user.created_at,
            }
            for user in accounts.kept.users()
        ]
    emit(rows, ["name", "role", "sites", "created_at"], output)
