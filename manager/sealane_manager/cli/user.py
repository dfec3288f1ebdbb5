"""`sealane user`: who may log in on the dashboard; works on the manager's own state folder."""

from __future__ import annotations

import getpass
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from sealane.clock import SystemClock
from sealane.errors import SealaneError

from sealane_manager.cli.output import Format, OutputOption, emit, reported
from sealane_manager.layout import StateFolder
from sealane_manager.people.access import Role, parse_grant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealane_manager.people.accounts import Accounts

app = typer.Typer(no_args_is_help=True, help="People who may log in on the dashboard.")

StateOption = Annotated[
    Path, typer.Option("--state", envvar="SEALANE_STATE", help="the manager's state folder")
]
NameArgument = Annotated[str, typer.Argument(help="the user's name")]
RoleOption = Annotated[Role, typer.Option(help="what the user may do")]
SitesOption = Annotated[
    list[str] | None, typer.Option(help="where the role holds; repeat it; none is everywhere")
]
StdinOption = Annotated[
    bool, typer.Option("--password-stdin", help="read the password from standard input")
]


@contextmanager
def _accounts(state: Path) -> Iterator[Accounts]:
    from sealane_manager.people.accounts import (  # noqa: PLC0415 - no other command shall wait for it
        Accounts,
    )
    from sealane_manager.store.store import open_store  # noqa: PLC0415 - the same

    folder = StateFolder(state)
    if not folder.database.exists() and not folder.settings.exists():
        raise SealaneError(f"there is no fleet in {state}", hint="make one with: sealane init")
    store = open_store(folder.database)
    try:
        yield Accounts(store.accounts, SystemClock())
    finally:
        store.close()


def _password(*, stdin: bool) -> str:
    if stdin:
        return sys.stdin.readline().rstrip("\n")
    asked: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    return asked


def _actor() -> str:
    return f"{getpass.getuser()} on the manager's machine"


@app.command()
def add(
    name: NameArgument,
    state: StateOption,
    role: RoleOption = Role.VIEWER,
    site: SitesOption = None,
    password_stdin: StdinOption = False,
) -> None:
    """Let somebody log in."""
    password = _password(stdin=password_stdin)
    with reported(), _accounts(state) as accounts:
        grant = parse_grant(role, site or ())
        accounts.add_user(name, grant, password, _actor())
    typer.echo(f"{name} may log in as {grant}")


@app.command()
def password(name: NameArgument, state: StateOption, password_stdin: StdinOption = False) -> None:
    """Give a user another password; ends the user's sessions."""
    new = _password(stdin=password_stdin)
    with reported(), _accounts(state) as accounts:
        accounts.set_password(name, new, _actor())
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
        accounts.kept.set_grant(name, grant, By(_actor(), "", SystemClock().now()))
    typer.echo(f"{name} is {grant}")


@app.command()
def remove(name: NameArgument, state: StateOption) -> None:
    """Never let a user in again."""
    from sealane_manager.store.records import By  # noqa: PLC0415 - no other command shall wait

    with reported(), _accounts(state) as accounts:
        accounts.kept.remove_user(name, By(_actor(), "", SystemClock().now()))
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
