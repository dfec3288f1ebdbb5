"""What the commands about people share: they work on the manager's own state folder."""

from __future__ import annotations

import getpass
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from sealane.errors import SealaneError
from sealane.service import as_owner

from sealane_manager.layout import StateFolder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealane_manager.store.store import Store

StateOption = Annotated[
    Path, typer.Option("--state", envvar="SEALANE_STATE", help="the manager's state folder")
]
NameArgument = Annotated[str, typer.Argument(help="the user's name")]
SitesOption = Annotated[
    list[str] | None, typer.Option(help="where the role holds; repeat it; none is everywhere")
]


@contextmanager
def kept(state: Path) -> Iterator[Store]:
    """What the manager keeps, whether it runs or not; raises SealaneError when nothing is there."""
    from sealane_manager.store.store import (  # noqa: PLC0415 - no other command shall wait for it
        open_store,
    )

    folder = StateFolder(state)
    if not folder.settings.exists():
        raise SealaneError(f"there is no fleet in {state}", hint="make one with: sealane init")
    with as_owner(state):
        store = open_store(folder.database)
        try:
            yield store
        finally:
            store.close()


def here() -> str:
    """Who works on the manager's machine, as the audit log names him."""
    return f"{getpass.getuser()} on the manager's machine"
