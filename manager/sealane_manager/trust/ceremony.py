"""Begins a fleet: root, roles, keys, certificate authority and the first operator.

Development mode: every key lies on this machine and one signature is enough, so who takes the
machine takes the fleet. A fleet is built in a folder beside and appears at once, or not at all.
"""

from __future__ import annotations

import json
import re
from datetime import timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from sealane import fileio
from sealane.clock import SystemClock
from sealane.errors import InvalidName
from sealane.names import parse_family, parse_fleet
from sealane.trust.director import X_DIRECTOR
from sealane.trust.identity import key_to_pem, make_csr, new_key
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Root, Targets
from tuf.api.serialization.json import JSONSerializer

from sealane_manager.appearing import building
from sealane_manager.errors import Refused
from sealane_manager.identity.ca import Issuer
from sealane_manager.repository import Repository
from sealane_manager.trust import keys, submission
from sealane_manager.trust.releases import first_metadata
from sealane_manager.trust.settings import FleetSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from securesystemslib.signer import CryptoSigner, Signer

    from sealane_manager.layout import StateFolder

ROOT_LIFETIME: Final = timedelta(days=365)
TARGETS_LIFETIME: Final = timedelta(days=365)
FIRST_OPERATOR: Final = "admin"

_CLOCK: Final = SystemClock()
_COMPACT: Final = JSONSerializer(compact=True)
_ONLINE: Final = (keys.SNAPSHOT, keys.TIMESTAMP)
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


def init_development(
    state: StateFolder, fleet: str, hosts: Sequence[str], families: Sequence[str]
) -> None:
    """Begin a fleet with every key on this machine.

    Raises Refused when the folder holds something, InvalidName when a name is not in its grammar;
    then nothing is left behind.
    """
    parse_fleet(fleet)
    _check_hosts(hosts)
    for family in families:
        _check_family(family)
    with building(state) as inside:
        signers = {role: keys.new_signer(inside.keys, role) for role in sorted(keys.RESERVED)}
        root, targets = _first_root(signers), _first_targets(signers[keys.TARGETS])
        Repository.create(inside.tuf, inside.keys, (root, targets))
        for family in families:
            add_family(inside, family)
        issuer = Issuer.create(inside.ca, fleet)
        _write_server(inside.ca, issuer, hosts)
        _write_operator(inside.operator, issuer, fleet)
        settings = FleetSettings(fleet, tuple(hosts), development=True)
        fileio.replace(inside.settings, settings.encode())


def add_family(state: StateFolder, family: str) -> None:
    """Delegate a new family of models to a new key; raises Refused when the family exists."""
    _check_family(family)
    repository = Repository(state.tuf, state.keys)
    if family not in repository.families():
        _delegate(repository, state.keys, family)
    elif family in repository.published_families():
        raise Refused(f"the family {family} exists already")
    signer = keys.load_signer(keys.key_path(state.keys, family))
    repository.submit(family, first_metadata(signer))


def _delegate(repository: Repository, folder: Path, family: str) -> None:
    authority = keys.load_signer(keys.key_path(folder, keys.TARGETS))
    targets = submission.parse(Targets, repository.current(Targets.type))
    delegations = targets.signed.delegations or Delegations({}, {})
    key = keys.new_signer(folder, family).public_key
    role = DelegatedRole(family, [key.keyid], 1, terminating=True, paths=[f"{family}/*"])
    targets.signed.delegations = Delegations(
        delegations.keys | {key.keyid: key}, (delegations.roles or {}) | {family: role}
    )
    targets.signed.version += 1
    targets.signed.expires = _CLOCK.now() + TARGETS_LIFETIME
    repository.submit(Targets.type, _signed(targets, authority))


def _first_root(signers: Mapping[str, CryptoSigner]) -> bytes:
    root = Root(version=1, expires=_CLOCK.now() + ROOT_LIFETIME, consistent_snapshot=True)
    for role in (keys.ROOT, keys.TARGETS, *_ONLINE):
        root.add_key(signers[role].public_key, role)
    director = signers[keys.DIRECTOR].public_key
    root.keys[director.keyid] = director
    root.unrecognized_fields[X_DIRECTOR] = {"keyids": [director.keyid], "threshold": 1}
    return _signed(Metadata[Root](root), signers[keys.ROOT])


def _first_targets(signer: Signer) -> bytes:
    signed = Targets(version=1, expires=_CLOCK.now() + TARGETS_LIFETIME)
    return _signed(Metadata[Targets](signed), signer)


def _signed(metadata: Metadata[Root] | Metadata[Targets], signer: Signer) -> bytes:
    metadata.sign(signer)
    return metadata.to_bytes(_COMPACT)


def _write_server(folder: Path, issuer: Issuer, hosts: Sequence[str]) -> None:
    server = issuer.sign_server(hosts)
    fileio.replace(folder / "server.key", server.key)
    fileio.replace(folder / "server.pem", server.certificate)


def _write_operator(folder: Path, issuer: Issuer, fleet: str) -> None:
    key = new_key()
    fileio.make_folder(folder)
    fileio.replace(folder / "operator.key", key_to_pem(key))
    certificate = issuer.sign_operator(make_csr(key), fleet, FIRST_OPERATOR)
    fileio.replace(folder / "operator.pem", certificate)
    fileio.replace(folder / "ca.pem", issuer.certificate)
    context = {"address": "", "fleet": fleet}
    fileio.replace(folder / "context.json", json.dumps(context, indent=2).encode() + b"\n")


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


def _check_family(family: str) -> None:
    parse_family(family)
    if family in keys.RESERVED:
        raise Refused(f"no family may be called {family}: it is a role of its own")
