"""The device's key and certificate on disk, and those that will follow them.

  device.key, device.pem   what the device is known by
  next.key                 made and durable before it is asked for: a lost answer is asked for again
  next.pem                 its certificate; from now on the device shows this one
  (a session is open)      next.key and next.pem become device.key and device.pem

Killed anywhere in between, the device starts with the newest certificate whose key it has; until
the new one has opened a session, the old one is there too.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from sealane import fileio
from sealane.errors import SealaneError
from sealane.trust import identity
from sealane.trust.authorities import parse_authorities

from sealane_agent.errors import ENROL_ANEW, NotEnrolled, Refused
from sealane_agent.identity import keys
from sealane_agent.identity.membership import Membership

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    from sealane_agent.config import Identity, IdentityFiles


class Passport:
    """What the device shows to its manager; every method blocks on the disk."""

    def __init__(self, files: IdentityFiles, who: Identity) -> None:
        self._files, self._who = files, who
        self.key: EllipticCurvePrivateKey
        self.certificate: x509.Certificate
        self.membership: Membership
        self.read()

    @property
    def unsettled(self) -> bool:
        """Whether a certificate has arrived that has not opened a session yet."""
        return self._files.next_certificate.is_file()

    def read(self) -> None:
        """Read the newest certificate whose key is here.

        Raises NotEnrolled, or what a token says that does not give the key now.
        """
        pairs = list(self._pairs())
        if not pairs:
            self._open_in_its_token()
            raise NotEnrolled(
                f"{self._files.folder} holds no certificate with its key",
                hint=f"move {self._files.folder} away, {ENROL_ANEW}",
            )
        self.certificate, pem, self.key = max(pairs, key=_begins)
        self.membership = Membership(
            self._who.address,
            self.key,
            pem,
            self._authorities(),
            self._who.enrol_address,
        )

    def _open_in_its_token(self) -> None:
        """Raise what a token says that does not give its key now: nothing is lost then."""
        for path in (self._files.key, self._files.next_key):
            content = path.read_bytes() if path.is_file() else b""
            if keys.store_of(content) is not keys.FILES:
                keys.open_key(content)

    def _authorities(self) -> bytes:
        """Whom the device believes to be its manager; raises NotEnrolled."""
        try:
            content = self._files.ca.read_bytes()
            parse_authorities(content)
        except (FileNotFoundError, SealaneError) as error:
            raise NotEnrolled(
                f"{self._files.ca} does not say whom this device believes",
                hint="copy that file from another device of the fleet: it is the same on all",
            ) from error
        return content

    def request(self) -> bytes:
        """A request (PKCS #10, DER) for the next key, the same one until it is certified."""
        path = self._files.next_key
        if path.is_file():
            # Whoever made it may have died before its name was durable; the manager forgets no key.
            fileio.sync_folder(path.parent)
        else:
            fileio.replace(path, keys.store_of(self._files.key.read_bytes()).make())
        return identity.make_csr(keys.open_key(path.read_bytes()))

    def take(self, pem: bytes) -> None:
        """Show this certificate from now on; raises Refused when it is not for the next key."""
        certificate = identity.load_certificate(pem)
        key = keys.open_key(self._files.next_key.read_bytes())
        if not self._is_ours(certificate) or certificate.public_key() != key.public_key():
            raise Refused("the manager renewed another certificate than the one that was asked for")
        try:
            fileio.replace(self._files.next_certificate, pem)
        finally:
            self.read()  # what is seen on the disk is shown, whether or not it is durable yet

    def believe(self, authorities: bytes) -> bool:
        """Believe these authorities from the next connection on; whether they are others."""
        if not authorities or authorities == self._files.ca.read_bytes():
            return False
        parse_authorities(authorities)
        fileio.replace(self._files.ca, authorities)
        self.read()
        return True

    def settle(self) -> None:
        """The new certificate has opened a session: the old one goes, and its key."""
        old = b""
        if self._files.next_key.is_file():
            old = self._files.key.read_bytes() if self._files.key.is_file() else b""
            fileio.rename(self._files.next_key, self._files.key)
        fileio.rename(self._files.next_certificate, self._files.certificate)
        with suppress(SealaneError):  # one that cannot be destroyed now does no harm in its token
            keys.store_of(old).discard(old)

    def _is_ours(self, certificate: x509.Certificate) -> bool:
        peer = identity.peer_of(certificate)
        return (peer.kind, peer.name) == (identity.DEVICE, self._who.device)

    def _pairs(self) -> Iterator[tuple[x509.Certificate, bytes, EllipticCurvePrivateKey]]:
        """Certificates with their keys; what is damaged or half there is passed over."""
        known = [self._key(path) for path in (self._files.key, self._files.next_key)]
        for path in (self._files.certificate, self._files.next_certificate):
            try:
                pem = path.read_bytes()
                certificate = identity.load_certificate(pem)
            except (FileNotFoundError, SealaneError):
                continue
            for key in known:
                if key is not None and key.public_key() == certificate.public_key():
                    yield certificate, pem, key

    @staticmethod
    def _key(path: Path) -> EllipticCurvePrivateKey | None:
        try:
            return keys.open_key(path.read_bytes())
        except (FileNotFoundError, SealaneError):
            return None


def _begins(pair: tuple[x509.Certificate, bytes, EllipticCurvePrivateKey]) -> datetime:
    return pair[0].not_valid_before_utc
