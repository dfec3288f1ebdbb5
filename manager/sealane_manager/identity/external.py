"""An authority that is somebody else's: a command signs, and what it answers is not believed.

`ca/authority.json` holds `{"command": ["/usr/local/bin/sign", …], "timeout_s": 20}`; then there is
`ca.pem` and no `ca.key`. The command reads one JSON object, `request` says which fields, and writes
the certificate, PEM. So step-ca, Vault, a Microsoft CA or an HSM signs, by a script of ten lines.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from sealane.errors import SealaneError, TrustError
from sealane.trust.identity import load_certificate

from sealane_manager.errors import Refused

if TYPE_CHECKING:
    from pathlib import Path

    from sealane_manager.identity.profile import Profile

FILE: Final = "authority.json"
ANSWER_BYTES: Final = 64 * 1024
_LATE: Final = timedelta(minutes=5)
_USAGES: Final = {
    ExtendedKeyUsageOID.CLIENT_AUTH: "client",
    ExtendedKeyUsageOID.SERVER_AUTH: "server",
}


@dataclass(frozen=True, slots=True)
class CommandAuthority:
    """Signs by a command; `certificate` is the authority's own."""

    command: tuple[str, ...]
    certificate: x509.Certificate
    timeout_s: float = 20.0

    def issue(self, csr: x509.CertificateSigningRequest, profile: Profile) -> bytes:
        """A certificate, PEM; raises Refused when the command fails or answers otherwise."""
        pem = self._asked(json.dumps(request(csr, profile)).encode())
        try:
            found = load_certificate(pem)
            complaint = self._complaint(found, csr, profile)
        except (TrustError, ValueError, x509.ExtensionNotFound) as error:
            raise _wrong(f"it cannot be read: {error}") from error
        if complaint:
            raise _wrong(complaint)
        return found.public_bytes(Encoding.PEM)

    def _asked(self, question: bytes) -> bytes:
        try:
            done = subprocess.run(
                self.command,
                input=question,
                capture_output=True,
                timeout=self.timeout_s,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Refused(f"the authority's command did not answer: {error}") from error
        if done.returncode or len(done.stdout) > ANSWER_BYTES:
            said = done.stderr.decode(errors="replace").strip()[-200:]
            raise Refused(f"the authority's command ended {done.returncode}: {said or 'no word'}")
        return done.stdout

    def _complaint(
        self, found: x509.Certificate, csr: x509.CertificateSigningRequest, profile: Profile
    ) -> str:
        """Why it is not what was asked for; empty when it is."""
        extensions = found.extensions
        names = list(extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
        usages = list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
        signs = extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        shown = ", ".join(str(each.value) for each in names)[:200]
        ends = found.not_valid_after_utc
        judged = (
            (self._issued(found), "its signature is not that of the authority in ca.pem"),
            (found.public_key() == csr.public_key(), "it is for another key"),
            (names == list(profile.names), f"it names {shown}"),
            (usages == [profile.usage], "it may be used for something else"),
            (not signs, "it may sign others"),
            (ends <= profile.ends + _LATE, f"it lives until {ends:%Y-%m-%d %H:%M}"),
        )
        return next((complaint for good, complaint in judged if not good), "")

    def _issued(self, found: x509.Certificate) -> bool:
        try:
            found.verify_directly_issued_by(self.certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True


def request(csr: x509.CertificateSigningRequest, profile: Profile) -> dict[str, Any]:
    """What the command is asked; times in ISO 8601, UTC."""
    kinds = {
        "uris": x509.UniformResourceIdentifier,
        "dns": x509.DNSName,
        "addresses": x509.IPAddress,
    }
    names = {
        word: [str(each.value) for each in profile.names if isinstance(each, kind)]
        for word, kind in kinds.items()
    }
    return {
        "csr": csr.public_bytes(Encoding.PEM).decode("ascii"),
        "common_name": profile.common_name,
        "usage": _USAGES[profile.usage],
        "not_before": f"{profile.begins:%Y-%m-%dT%H:%M:%SZ}",
        "not_after": f"{profile.ends:%Y-%m-%dT%H:%M:%SZ}",
    } | names


def load(folder: Path, certificate: x509.Certificate) -> CommandAuthority | None:
    """The authority that authority.json describes; None without one, raises SealaneError."""
    path = folder / FILE
    try:
        fields = json.loads(path.read_bytes())
        command = tuple(str(word) for word in fields["command"])
        timeout_s = float(fields.get("timeout_s", 20))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        hint = 'write {"command": ["/path/of/a/program"]}'
        raise SealaneError(f"{path} cannot be read", hint=hint) from error
    return CommandAuthority(command, certificate, timeout_s)


def _wrong(why: str) -> Refused:
    return Refused(
        f"the authority's certificate is not what was asked for: {why}",
        hint=f"see what the command in {FILE} does with its input",
    )
