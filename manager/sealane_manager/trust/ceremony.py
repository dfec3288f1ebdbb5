"""Begins a fleet: root, roles, keys, certificate authority and the first operator.

In production the root, the targets and the families belong to people elsewhere, and the fleet
begins when enough of them have signed. In development mode every key lies on this machine and one
signature is enough, so who takes the machine takes the fleet. A fleet is built in a folder beside
and appears at once, or not at all.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from sealane import fileio
from sealane.clock import SystemClock
from sealane.errors import InvalidName
from sealane.names import parse_family, parse_fleet
from sealane.trust.director import DIRECTOR, X_DIRECTOR
from sealane.trust.identity import make_csr
from tuf.api.metadata import Delegations, Metadata, Root, Targets

from sealane_manager import operator_folder
from sealane_manager.appearing import building
from sealane_manager.errors import Refused
from sealane_manager.identity.ca import Issuer
from sealane_manager.repository import Repository
from sealane_manager.trust import changes, keys
from sealane_manager.trust.change_codec import change_to_json
from sealane_manager.trust.changes import Change
from sealane_manager.trust.edits import (
    LIFETIME,
    Ground,
    KeyEdit,
    apply_first,
    with_family,
)
from sealane_manager.trust.settings import FleetSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from securesystemslib.signer import Signer
    from tuf.api.metadata import Key

    from sealane_manager.layout import StateFolder

FIRST_OPERATOR: Final = "admin"
FOUNDER: Final = "init"
"""Who proposed the first root, in the list of changes."""

_CLOCK: Final = SystemClock()
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Trustees:
    """Who signs for a role: their public keys, and how many of them must."""

    keys: tuple[Key, ...]
    threshold: int


@dataclass(frozen=True, slots=True)
class Founding:
    """What a new fleet is made of.

    Attributes:
        hosts: names under which devices dial the manager.
        offline: who signs for the root, the targets and each family.
    """

    fleet: str
    hosts: tuple[str, ...]
    offline: Mapping[str, Trustees]


def init_development(
    state: StateFolder, fleet: str, hosts: Sequence[str], families: Sequence[str]
) -> None:
    """Begin a fleet with every key on this machine.

    Raises Refused when the folder holds something, InvalidName when a name is not in its grammar;
    then nothing is left behind.
    """
    _check(fleet, hosts, families)
    with building(state) as inside:
        signers = {
            role: keys.new_signer(inside.keys, role) for role in (*sorted(keys.ROLES), *families)
        }
        offline = {
            role: Trustees((signers[role].public_key,), 1)
            for role in (Root.type, Targets.type, *families)
        }
        founding = Founding(fleet, tuple(hosts), offline)
        documents = _first_documents(founding, signers)
        for role, document in documents.items():
            document.sign(signers[role])
        encoded = {role: changes.encode(document) for role, document in documents.items()}
        Repository(inside.tuf, inside.keys).publish(encoded)
        _write_manager(inside, founding, development=True)


def init_production(state: StateFolder, founding: Founding) -> None:
    """Begin a fleet whose offline keys others hold: it waits until enough of them have signed.

    Raises what `init_development` raises, and Refused when a threshold cannot be met.
    """
    families = [role for role in founding.offline if role not in keys.ROLES]
    _check(founding.fleet, founding.hosts, families)
    with building(state) as inside:
        signers = {role: keys.new_signer(inside.keys, role) for role in keys.ONLINE}
        documents = _first_documents(founding, signers)
        now = _CLOCK.now()
        fileio.make_folder(inside.changes)
        for role, document in documents.items():
            content = changes.encode(document)
            change = Change(role, content, f"begin the fleet {founding.fleet}", FOUNDER, now)
            waiting = json.dumps(change_to_json(change), indent=1).encode()
            fileio.replace(inside.changes / f"{role}.json", waiting)
        _write_manager(inside, founding, development=False)


def add_family(state: StateFolder, repository: Repository, family: str) -> None:
    """Delegate a new family to a new key on this machine, as in development mode.

    Raises Refused when the family exists, SealaneError when the targets' key is elsewhere.
    """
    check_family(family)
    authority = keys.load_signer(keys.key_path(state.keys, Targets.type))
    current = repository.documents()
    if family in repository.families():
        raise Refused(f"the family {family} exists already")
    signer = keys.new_signer(state.keys, family)
    edit = KeyEdit(family, (signer.public_key,), threshold=1)
    documents = with_family(Ground(current, current, _CLOCK.now()), edit)
    documents[Targets.type].sign(authority)
    documents[family].sign(signer)
    repository.publish({role: changes.encode(item) for role, item in documents.items()})


def check_family(family: str) -> None:
    """Raise InvalidName or Refused unless a family may be called so."""
    parse_family(family)
    if family in keys.RESERVED:
        raise Refused(f"no family may be called {family}: it is a role of its own")


def _check(fleet: str, hosts: Sequence[str], families: Sequence[str]) -> None:
    parse_fleet(fleet)
    _check_hosts(hosts)
    for family in families:
        check_family(family)
    if len(set(families)) != len(families):
        raise Refused("the same family is named twice")


def _first_documents(founding: Founding, signers: Mapping[str, Signer]) -> dict[str, Metadata[Any]]:
    """Root, targets and families, not signed yet; `signers` hold the online keys."""
    expires = _CLOCK.now() + LIFETIME
    root = Root(version=1, expires=expires, consistent_snapshot=True)
    for role in keys.ONLINE:
        if role != DIRECTOR:
            root.add_key(signers[role].public_key, role)
    director = signers[DIRECTOR].public_key
    root.keys[director.keyid] = director
    root.unrecognized_fields[X_DIRECTOR] = {"keyids": [director.keyid], "threshold": 1}
    targets = Targets(version=1, expires=expires, delegations=Delegations({}, {}))
    now = _CLOCK.now()
    documents: dict[str, Metadata[Any]] = {
        Root.type: Metadata(root),
        Targets.type: Metadata(targets),
    }
    for role, trustees in founding.offline.items():
        edit = KeyEdit(role, trustees.keys, threshold=trustees.threshold)
        apply_first(documents, edit, now)
    return documents


def _write_manager(inside: StateFolder, founding: Founding, *, development: bool) -> None:
    """The certificate authority, the first operator and, last, the settings."""
    issuer = Issuer.create(inside.ca, founding.fleet)
    _write_server(inside.ca, issuer, founding.hosts)
    _write_operator(inside.operator, issuer, founding.fleet)
    settings = FleetSettings(founding.fleet, founding.hosts, development=development)
    fileio.replace(inside.settings, settings.encode())


def _write_server(folder: Path, issuer: Issuer, hosts: Sequence[str]) -> None:
    server = issuer.sign_server(hosts)
    fileio.replace(folder / "server.key", server.key)
    fileio.replace(folder / "server.pem", server.certificate)


def _write_operator(folder: Path, issuer: Issuer, fleet: str) -> None:
    csr = make_csr(operator_folder.make_key(folder))
    certificate = issuer.sign_operator(csr, fleet, FIRST_OPERATOR)
    context = operator_folder.Context(fleet, "", certificate, issuer.certificate)
    operator_folder.write_context(folder, context)


def _check_hosts(hosts: Sequence[str]) -> None:
    if not hosts:
        raise InvalidName("the manager needs a name under which devices dial", hint="add --host")
    for host in hosts:
        if not _HOST.fullmatch(host) and not _is_address(host):
            raise InvalidName(f"{host[:80]!r} is not a host's name or address")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
