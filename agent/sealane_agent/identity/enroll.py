"""Makes this machine a device: a key of its own, a certificate for it, and a root to trust.

The key never leaves the machine, and it is kept when the manager refuses or its answer is lost: a
token that this key has used is good for it again. `device.json` is written last, so that a machine
is either enrolled or not.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sealane import fileio
from sealane.clock import SystemClock
from sealane.names import parse_device
from sealane.trust import anchor, identity
from sealane.trust.verifier import Verifier

from sealane_agent.config import Identity, IdentityFiles
from sealane_agent.errors import AlreadyEnrolled, Refused
from sealane_agent.identity import keys
from sealane_agent.identity.membership import Application
from sealane_agent.identity.passport import Passport
from sealane_agent.uplink import rpc

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from sealane.clock import Clock
    from sealane.trust.token import JoinToken

    from sealane_agent.identity.keys import KeyStore
    from sealane_agent.identity.membership import Admission
    from sealane_agent.layout import StateFolder


_CLOCK: Final = SystemClock()
APPROVAL_PAUSE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """A machine that nobody has approved yet: its name, and its key's SHA-256, hexadecimal."""

    device: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Enrolment:
    """Enrols one state folder.

    Attributes:
        ask: asks the manager at an address, whose server the CA certificate names.
        store: where a new key is made; one that is there already stays where it is.
        wait: called before the manager is asked once more for an approval; it may give up.
    """

    folder: StateFolder
    ask: Callable[[str, bytes, Application], Admission] = rpc.enrol
    clock: Clock = _CLOCK
    store: KeyStore = keys.FILES
    wait: Callable[[Waiting], None] = lambda _: time.sleep(APPROVAL_PAUSE_S)

    def run(self, token: JoinToken, name: str) -> Identity:
        """Enrol; raises AlreadyEnrolled, Refused, Unreachable, TrustError or OSError."""
        files = IdentityFiles(self.folder.identity)
        if files.description.exists():
            fileio.sync_folder(files.folder)  # an earlier try may have died just before
            return self._again(token, files)
        if name:
            parse_device(name)
        for path in (self.folder.root, self.folder.identity):
            fileio.make_folder(path)
        answer = self._apply(token, _key(files.key, self.store), name)
        return self._keep(token, answer, files.certificate)

    def _again(self, token: JoinToken, files: IdentityFiles) -> Identity:
        """A new certificate for a device whose own has expired, or that forgot what it has seen.

        Its key proves who it is, and what serves stays; the token says again where trust begins.
        When the answer to the last renewal was lost, the manager knows the next key instead.
        """
        who, passport = files.read(), Passport(files, files.read())
        lives = passport.certificate.not_valid_after_utc > self.clock.now()
        if lives and anchor.remembers(self.folder.trust):
            raise AlreadyEnrolled(
                f"this machine is enrolled already, as device {who.device}",
                hint="use another --state folder, or move this one away to enrol anew",
            )
        shown = files.next_certificate if passport.unsettled else files.certificate
        try:
            answer = self._apply(token, passport.key, who.device)
        except Refused:
            if passport.unsettled or not files.next_key.is_file():
                raise
            shown = files.next_certificate
            answer = self._apply(token, _key(files.next_key, keys.FILES), who.device)
        return self._keep(token, answer, shown)

    def _apply(self, token: JoinToken, key: EllipticCurvePrivateKey, name: str) -> Admission:
        """The manager's answer; waits as long as nobody has approved this machine."""
        csr = identity.make_csr(key)
        application = Application(token.token_id, token.secret, csr, name)
        answer = self.ask(token.address, token.ca, application)
        while not answer.certificate:
            self.wait(Waiting(answer.device, _fingerprint(key)))
            answer = self.ask(token.address, token.ca, application)
        return answer

    def _keep(self, token: JoinToken, answer: Admission, certificate: Path) -> Identity:
        files = IdentityFiles(self.folder.identity)
        Verifier.bootstrap(self.folder.trust, answer.root, token.root_sha256)
        identity.load_certificate(answer.certificate)
        device = parse_device(answer.device)
        found = Identity(device, answer.fleet, answer.address, token.address)
        fileio.replace(certificate, answer.certificate)
        fileio.replace(files.ca, token.ca)
        fileio.replace(files.description, found.encode())
        return found


def _fingerprint(key: EllipticCurvePrivateKey) -> str:
    form = PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_key().public_bytes(Encoding.DER, form)).hexdigest()


def _key(path: Path, store: KeyStore) -> EllipticCurvePrivateKey:
    """The key of an earlier try, or a new one."""
    if path.is_file():
        return keys.open_key(path.read_bytes())
    fileio.replace(path, store.make())
    return keys.open_key(path.read_bytes())
