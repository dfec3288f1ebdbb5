"""Replaces the fleet's certificate authority, in three steps that may lie weeks apart.

  prepare   a next authority is made; devices learn to believe both, by a target that those sign
            who hold the targets keys
  switch    the next one issues; the manager's server shows its certificate; both are believed
  retire    the previous one is believed no more

Each step can be repeated when it was cut off, or when it has waited for signatures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealane import fileio
from sealane.trust.identity import load_certificate, make_csr, peer_of

from sealane_manager import operator_folder
from sealane_manager.errors import Refused
from sealane_manager.identity import ca

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tuf.api.metadata import TargetFile

    from sealane_manager.layout import StateFolder
    from sealane_manager.repository import Repository

    Propose = Callable[[TargetFile], None]
    """Proposes targets that list a file; it may have to wait for signatures."""


def prepare(state: StateFolder, fleet: str, repository: Repository, propose: Propose) -> bool:
    """Make the next authority, and let devices believe both.

    Returns whether they may: else the holders of the targets keys must sign first. Raises Refused
    when one waits.
    """
    if not (state.ca / ca.KEY).exists():
        raise Refused("the authority's key is not here", hint="replace it where it lies")
    if (state.ca / ca.PREVIOUS).exists():
        raise Refused("the last replacement has not ended", hint="sealane authority retire")
    if not (state.ca / ca.NEXT).exists():
        key, certificate = ca.new_authority(fleet)
        fileio.replace(state.ca / ca.NEXT_KEY, key)
        fileio.replace(state.ca / ca.NEXT, certificate)
    bundle = ca.Issuer(state.ca).bundle
    if not _published(repository, bundle, propose):
        return False
    _believe(state, bundle)
    return True


def switch(state: StateFolder, hosts: Sequence[str], repository: Repository) -> None:
    """Let the next authority issue; raises Refused when devices were not told to believe it."""
    folder = state.ca
    if not (folder / ca.NEXT).exists():
        raise Refused("no next authority was prepared", hint="sealane authority prepare")
    if not (folder / ca.PREVIOUS).exists():
        _told(repository, ca.Issuer(folder).bundle)
        fileio.replace(folder / ca.PREVIOUS, (folder / ca.CERTIFICATE).read_bytes())
    if (folder / ca.NEXT_KEY).exists():
        fileio.rename(folder / ca.NEXT_KEY, folder / ca.KEY)
    fileio.replace(folder / ca.CERTIFICATE, (folder / ca.NEXT).read_bytes())
    issuer = ca.Issuer(folder)
    server = issuer.sign_server(hosts)
    fileio.replace(folder / "server.key", server.key)
    fileio.replace(folder / "server.pem", server.certificate)
    _renew_operator(state, issuer)
    _believe(state, issuer.bundle)
    fileio.remove(folder / ca.NEXT)  # last: until then the step is repeated


def retire(state: StateFolder, repository: Repository, propose: Propose) -> bool:
    """Believe the previous authority no more; raises Refused when there is none.

    Returns whether that is so: else the holders of the targets keys must sign first.
    """
    if not (state.ca / ca.PREVIOUS).exists():
        raise Refused("no authority was replaced", hint="sealane authority prepare, then switch")
    alone = ca.Issuer(state.ca).certificate
    if not _published(repository, alone, propose):
        return False
    fileio.remove(state.ca / ca.PREVIOUS)
    _believe(state, alone)
    return True


def _published(repository: Repository, bundle: bytes, propose: Propose) -> bool:
    """Whether the targets list these authorities now, proposed if need be."""
    target = repository.add_authorities(bundle)
    if not repository.lists(target):
        propose(target)
    return repository.lists(target)


def _told(repository: Repository, bundle: bytes) -> None:
    """Raise Refused unless the targets list these authorities.

    Who believes the old one alone would be cut off, and could not even learn of the new one.
    """
    if not repository.lists(repository.add_authorities(bundle)):
        raise Refused(
            "no device was told yet to believe the next authority",
            hint="have the targets holders sign what waits: sealane trust status",
        )


def _renew_operator(state: StateFolder, issuer: ca.Issuer) -> None:
    certificate = state.operator / operator_folder.CERTIFICATE
    if not (state.operator / operator_folder.KEY).exists():
        return
    peer = peer_of(load_certificate(certificate.read_bytes()))
    csr = make_csr(operator_folder.read_key(state.operator))
    fileio.replace(certificate, issuer.sign_operator(csr, peer.fleet, peer.name))


def _believe(state: StateFolder, bundle: bytes) -> None:
    """The first operator's command line believes what devices do; others copy the file."""
    if state.operator.is_dir():
        fileio.replace(state.operator / operator_folder.AUTHORITY, bundle)
