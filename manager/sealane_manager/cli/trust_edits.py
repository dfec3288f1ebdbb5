"""The commands of `sealane trust` that begin a fleet or propose other keys for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from sealane.service import become_owner
from tuf.api.metadata import Root, Targets

from sealane_manager.cli.context import ContextOption  # noqa: TC001 - Typer reads annotations
from sealane_manager.cli.desk import ReasonOption, StateOption, room
from sealane_manager.cli.output import reported
from sealane_manager.cli.proposing import Wish, proposed
from sealane_manager.errors import Refused
from sealane_manager.layout import StateFolder
from sealane_manager.trust.ceremony import (
    Founding,
    Trustees,
    add_family,
    check_family,
    init_production,
)
from sealane_manager.trust.edits import (
    Ground,
    KeyEdit,
    all_keys,
    edited,
    renewed,
    with_family,
    without_family,
)
from sealane_manager.trust.endings import delegated
from sealane_manager.trust.keys import ONLINE, RESERVED, new_successor
from sealane_manager.trust.office import Premises, local_publishing
from sealane_manager.trust.signers import read_public

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tuf.api.metadata import Metadata

PublicArgument = Annotated[
    list[Path], typer.Argument(help="public key files (NAME.pub.json) of the holders")
]
RootKeys = Annotated[list[Path], typer.Option("--root-key", help="public key of a root holder")]
RootThreshold = Annotated[int, typer.Option(min=1, help="how many root holders must sign")]
TargetsKeys = Annotated[
    list[Path], typer.Option("--targets-key", help="public key of a holder who adds families")
]
TargetsThreshold = Annotated[int, typer.Option(min=1, help="how many of them must sign")]
FamilyOption = Annotated[
    list[str] | None,
    typer.Option(help="NAME=THRESHOLD:KEY,KEY,…: who approves releases NAME/*; repeatable"),
]
ThresholdOption = Annotated[
    int | None, typer.Option(min=1, help="how many must sign afterwards; default: as before")
]


def add_to(app: typer.Typer) -> None:
    """Add these commands to `sealane trust`."""
    for name, command in (
        ("init", init),
        ("convert", convert),
        ("add-family", add),
        ("remove-family", remove),
        ("add-key", add_key),
        ("revoke-key", revoke_key),
        ("rotate", rotate),
        ("renew", renew),
    ):
        app.command(name)(command)


def init(
    state: Annotated[Path, typer.Argument(help="folder for the manager's state; new or empty")],
    fleet: Annotated[str, typer.Option(help="the fleet's name; it stands in every certificate")],
    host: Annotated[list[str], typer.Option(help="name under which devices dial the manager")],
    root_key: RootKeys,
    targets_key: TargetsKeys,
    root_threshold: RootThreshold = 2,
    targets_threshold: TargetsThreshold = 1,
    family: FamilyOption = None,
) -> None:
    """Begin a fleet whose keys people hold; it lives when enough of them have signed."""
    with reported():
        offline = _offline((root_key, root_threshold), (targets_key, targets_threshold), family)
        become_owner(state)
        init_production(StateFolder(state), Founding(fleet, tuple(host), offline))
        typer.echo(f"fleet {fleet} is prepared in {state}; the manager made only its online keys")
        typer.echo("next: every holder signs:")
        typer.echo(f"        sealane trust export first.json --state {state}")
        typer.echo("        sealane trust sign first.json --key THEIR-KEY    (on their machine)")
        typer.echo(f"        sealane trust submit first.json --state {state}")
        typer.echo(f"      `sealane trust status --state {state}` says who is missing;")
        typer.echo(f"      then: sealane serve {state}")


def convert(
    root_key: RootKeys,
    targets_key: TargetsKeys,
    state: Annotated[Path, typer.Option("--state", envvar="SEALANE_STATE", help="state folder")],
    root_threshold: RootThreshold = 2,
    targets_threshold: TargetsThreshold = 1,
    family: FamilyOption = None,
    reason: ReasonOption = "leave development mode",
) -> None:
    """Hand a fleet in development mode to keys that people hold; no device is enrolled again."""
    with reported(), room(state, None) as place:
        offline = _offline((root_key, root_threshold), (targets_key, targets_threshold), family)
        typer.echo("The keys on this machine sign the change once more; when the new holders have")
        typer.echo("signed too, every role is theirs and the manager deletes its own keys.")

        def edit(ground: Ground) -> dict[str, Metadata[Any]]:
            left = {*delegated(ground.base[Targets.type].signed)} - offline.keys()
            if left:
                raise Refused(
                    f"the family {min(left)} would keep its development key",
                    hint=f"name its holders: --family {min(left)}=THRESHOLD:KEY,KEY",
                )
            return edited(ground, [_replacing(ground.base, each) for each in offline.items()])

        proposed(place, edit, Wish(reason))


def add(
    family: Annotated[str, typer.Argument(help="releases of it are called FAMILY/model@version")],
    key: Annotated[
        list[Path] | None, typer.Option("--key", help="public key file of a holder; repeatable")
    ] = None,
    threshold: ThresholdOption = None,
    reason: ReasonOption = "",
    state: StateOption = None,
    context: ContextOption = None,
) -> None:
    """Add a family of models; without --key its key is made on this machine (development)."""
    with reported():
        check_family(family)
        if not key:
            if state is None:
                raise Refused("a family needs holders", hint="name their public keys with --key")
            folder = StateFolder(state)
            become_owner(state)
            with local_publishing(Premises(folder)) as (_, repository):
                add_family(folder, repository, family)
            typer.echo(f"family {family} may now publish {family}/*")
            return
        edit = KeyEdit(family, tuple(map(read_public, key)), threshold=threshold or 1)
        with room(state, context) as place:
            wish = Wish(reason, begins=family)
            proposed(place, lambda ground: with_family(ground, edit), wish)


def remove(
    family: Annotated[str, typer.Argument(help="the family that shall end")],
    in_use: Annotated[
        bool,
        typer.Option("--in-use", help="end it although devices serve it or rollouts of it go on"),
    ] = False,
    reason: ReasonOption = "",
    state: StateOption = None,
    context: ContextOption = None,
) -> None:
    """Propose to end a family: no release of it begins to run any more, what serves goes on."""
    with reported(), room(state, context) as place:
        if family in RESERVED:
            raise Refused(f"{family} is no family", hint="`sealane trust show` lists them")
        wish = Wish(reason, in_use=in_use)
        proposed(place, lambda ground: without_family(ground, family), wish)


def add_key(
    role: Annotated[str, typer.Argument(help="root, targets or a family")],
    keys: PublicArgument,
    threshold: ThresholdOption = None,
    reason: ReasonOption = "",
    state: StateOption = None,
    context: ContextOption = None,
) -> None:
    """Propose more keys for a role."""
    with reported(), room(state, context) as place:
        _offline_role(role)
        edit = KeyEdit(role, tuple(map(read_public, keys)), threshold=threshold)
        proposed(place, lambda ground: edited(ground, [edit]), Wish(reason))


def revoke_key(
    role: Annotated[str, typer.Argument(help="root, targets or a family")],
    key: Annotated[str, typer.Argument(help="holder, or the first 8 digits of the key's id")],
    threshold: ThresholdOption = None,
    reason: ReasonOption = "",
    state: StateOption = None,
    context: ContextOption = None,
) -> None:
    """Propose to take a key from a role; what it signed alone must then be signed anew."""
    with reported(), room(state, context) as place:
        _offline_role(role)
        edit = KeyEdit(role, lost=(key,), threshold=threshold)
        proposed(place, lambda ground: edited(ground, [edit]), Wish(reason))


def rotate(
    role: Annotated[str, typer.Argument(help="any role; of an online one the manager makes a key")],
    old: Annotated[str, typer.Argument(help="holder, or first 8 digits of the old key's id")] = "",
    new: Annotated[Path | None, typer.Argument(help="public key file of the new key")] = None,
    reason: ReasonOption = "",
    state: StateOption = None,
    context: ContextOption = None,
) -> None:
    """Propose to exchange a key: one of an offline role, or the manager's own for an online one."""
    with reported(), room(state, context) as place:
        if role in ONLINE:
            proposed(place, _online_exchange(role, state), Wish(reason))
            return
        if not old or new is None:
            raise Refused("a key of people is exchanged for another", hint="name OLD and NEW")
        edit = KeyEdit(role, (read_public(new),), (old,))
        proposed(place, lambda ground: edited(ground, [edit]), Wish(reason))


def renew(
    role: Annotated[str, typer.Argument(help="root, targets or a family")],
    reason: ReasonOption = "renew",
    state: StateOption = None,
    context: ContextOption = None,
) -> None:
    """Propose the same metadata with another year of life."""
    with reported(), room(state, context) as place:
        proposed(place, lambda ground: renewed(ground, role), Wish(reason))


def _online_exchange(
    role: str, state: Path | None
) -> Callable[[Ground], Mapping[str, Metadata[Any]]]:
    if state is None:
        raise Refused(
            f"the key of {role} is made where the manager is", hint="run it there, with --state"
        )

    def exchange(ground: Ground) -> Mapping[str, Metadata[Any]]:
        new = new_successor(StateFolder(state).keys, role).public_key
        return edited(ground, [_replacing(ground.base, (role, Trustees((new,), 1)))])

    return exchange


def _replacing(base: Mapping[str, Metadata[Any]], wanted: tuple[str, Trustees]) -> KeyEdit:
    role, trustees = wanted
    return KeyEdit(role, trustees.keys, all_keys(base, role), trustees.threshold)


def _offline_role(role: str) -> None:
    if role in ONLINE:
        raise Refused(f"{role} has a key of the manager alone", hint=f"sealane trust rotate {role}")


def _offline(
    root: tuple[Sequence[Path], int],
    targets: tuple[Sequence[Path], int],
    families: list[str] | None,
) -> dict[str, Trustees]:
    offline = {
        Root.type: Trustees(tuple(map(read_public, root[0])), root[1]),
        Targets.type: Trustees(tuple(map(read_public, targets[0])), targets[1]),
    }
    for text in families or ():
        name, equals, rest = text.partition("=")
        number, colon, paths = rest.partition(":")
        if not (equals and colon and number.isascii() and number.isdigit()):
            raise typer.BadParameter(f"{text!r} is not NAME=THRESHOLD:KEY,KEY,…")
        check_family(name)
        keys = tuple(read_public(Path(path)) for path in paths.split(","))
        offline[name] = Trustees(keys, int(number))
    return offline
