"""Makes this machine a device: a key of its own, a certificate for it, and a root to trust.

The key never leaves the machine, and it is kept when the manager refuses or its answer is lost: a
token that this key has used is good for it again. `device.json` is written last, so that a machine
is either enrolled or not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sealane import fileio
from sealane.names import parse_device
from sealane.trust import identity
from sealane.trust.verifier import Verifier

from sealane_agent import rpc
from sealane_agent.config import Identity, IdentityFiles
from sealane_agent.errors import AlreadyEnrolled
from sealane_agent.membership import Application

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from sealane.trust.token import JoinToken

    from sealane_agent.layout import StateFolder
    from sealane_agent.membership import Admission


@dataclass(frozen=True, slots=True)
class Enrolment:
    """Enrols one state folder.

    Attributes:
        ask: asks the manager at an address, whose server the CA certificate names.
    """

    folder: StateFolder
    ask: Callable[[str, bytes, Application], Admission] = rpc.enrol

    def run(self, token: JoinToken, name: str) -> Identity:
        """Enrol; raises AlreadyEnrolled, Refused, Unreachable, TrustError or OSError."""
        files = IdentityFiles(self.folder.identity)
        if files.description.exists():
            raise AlreadyEnrolled(
                f"this machine is enrolled already, as device {files.read().device}",
                hint="use another --state folder, or move this one away to enrol anew",
            )
        if name:
            parse_device(name)
        for path in (self.folder.root, self.folder.identity):
            fileio.make_folder(path)
        csr = identity.make_csr(_key(files.key))
        application = Application(token.token_id, token.secret, csr, name)
        answer = self.ask(token.address, token.ca, application)
        return self._keep(token, answer, files)

    def _keep(self, token: JoinToken, answer: Admission, files: IdentityFiles) -> Identity:
        Verifier.bootstrap(self.folder.trust, answer.root, token.root_sha256)
        identity.load_certificate(answer.certificate)
        found = Identity(parse_device(answer.device), answer.fleet, answer.address)
        fileio.replace(files.certificate, answer.certificate)
        fileio.replace(files.ca, token.ca)
        fileio.replace(files.description, found.encode())
        return found


def _key(path: Path) -> EllipticCurvePrivateKey:
    """The key of an earlier try, or a new one."""
    if path.is_file():
        return identity.key_from_pem(path.read_bytes())
    key = identity.new_key()
    fileio.replace(path, identity.key_to_pem(key))
    return key
