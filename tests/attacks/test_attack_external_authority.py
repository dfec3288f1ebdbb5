"""A command signs in the authority's place; what it answers is judged, whoever wrote it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest
from sealane.names import DeviceId
from sealane.trust.identity import load_certificate, make_csr, new_key, peer_of
from sealane.wire.v1 import fleet_pb2, fleet_pb2_grpc
from sealane_manager.errors import Refused
from sealane_manager.identity.ca import Issuer
from support.manager import make_state, running_manager

if TYPE_CHECKING:
    from pathlib import Path

    from sealane_manager.layout import StateFolder

PROGRAM = """
import json, sys
from pathlib import Path
from datetime import datetime, timedelta
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from ipaddress import ip_address

asked, lie, folder = json.load(sys.stdin), sys.argv[1], Path(sys.argv[2])
key = load_pem_private_key((folder / "vault.key").read_bytes(), None)
ca = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
csr = x509.load_pem_x509_csr(asked["csr"].encode())
names = [x509.UniformResourceIdentifier(text) for text in asked["uris"]]
names += [x509.DNSName(text) for text in asked["dns"]]
names += [x509.IPAddress(ip_address(text)) for text in asked["addresses"]]
moment = lambda text: datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")
public, ends = csr.public_key(), moment(asked["not_after"])
usage = {"client": ExtendedKeyUsageOID.CLIENT_AUTH, "server": ExtendedKeyUsageOID.SERVER_AUTH}
for_what = [usage[asked["usage"]]]
if lie == "name":
    names = [x509.UniformResourceIdentifier("spiffe://demo/operator/admin")]
if lie == "more names":
    names.append(x509.DNSName("localhost"))
if lie == "key":
    from cryptography.hazmat.primitives.asymmetric import ec
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
if lie == "usage":
    for_what.append(ExtendedKeyUsageOID.SERVER_AUTH)
if lie == "life":
    ends += timedelta(days=3650)
if lie == "signer":
    from cryptography.hazmat.primitives.asymmetric import ec
    key = ec.generate_private_key(ec.SECP256R1())
if lie == "fails":
    sys.exit("the vault is sealed")
if lie == "nonsense":
    sys.stdout.write("nonsense")
    sys.exit()
if lie == "silent":
    import time
    time.sleep(600)
name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, asked["common_name"])])
made = x509.CertificateBuilder(ca.subject, name, public, x509.random_serial_number(),
                               moment(asked["not_before"]), ends)
made = made.add_extension(x509.BasicConstraints(ca=lie == "authority", path_length=None), True)
made = made.add_extension(x509.ExtendedKeyUsage(for_what), False)
made = made.add_extension(x509.SubjectAlternativeName(names), False)
sys.stdout.write(made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode())
"""
PEER = DeviceId("press-1")


def outsourced(state: StateFolder, lie: str = "", timeout_s: float = 20) -> None:
    """Let a program sign with the key, which is the manager's no more."""
    key = state.ca / "ca.key"
    if key.exists():
        key.rename(state.ca / "vault.key")
    program = state.ca / "sign.py"
    program.write_text(PROGRAM)
    command = [sys.executable, str(program), lie, str(state.ca)]
    described = {"command": command, "timeout_s": timeout_s}
    (state.ca / "authority.json").write_text(json.dumps(described))


@pytest.mark.slow
def test_a_fleet_whose_authority_is_a_command_enrols_renews_and_talks(tmp_path: Path) -> None:
    state = make_state(tmp_path)
    outsourced(state)
    assert not (state.ca / "ca.key").exists()
    with running_manager(tmp_path) as manager:
        device = manager.enrolled("press-1")
        with device.session() as session:
            session.greet()
        with device.channel() as channel:
            stub = fleet_pb2_grpc.FleetServiceStub(channel)
            request = fleet_pb2.RenewRequest(csr=make_csr(new_key()))
            renewed = stub.Renew(request, timeout=30).certificate
    assert peer_of(load_certificate(device.certificate)).name == "press-1"
    assert peer_of(load_certificate(renewed)).name == "press-1"


@pytest.mark.parametrize(
    ("lie", "complaint"),
    [
        ("name", "it names spiffe://demo/operator/admin"),
        ("more names", "it names"),
        ("key", "it is for another key"),
        ("usage", "it may be used for something else"),
        ("authority", "it may sign others"),
        ("life", "it lives until"),
        ("signer", "its signature is not that of the authority"),
        ("fails", "the vault is sealed"),
        ("nonsense", "it cannot be read"),
    ],
)
def test_a_certificate_that_is_not_what_was_asked_for_is_not_given_to_anybody(
    tmp_path: Path, lie: str, complaint: str
) -> None:
    state = make_state(tmp_path)
    outsourced(state, lie)
    with pytest.raises(Refused) as caught:
        Issuer(state.ca).sign_device(make_csr(new_key()), "demo", PEER)
    assert complaint in str(caught.value)


def test_a_command_that_does_not_answer_is_given_up(tmp_path: Path) -> None:
    state = make_state(tmp_path)
    outsourced(state, "silent", timeout_s=1.0)
    with pytest.raises(Refused, match="did not answer"):
        Issuer(state.ca).sign_device(make_csr(new_key()), "demo", PEER)
