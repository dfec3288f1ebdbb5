"""The device's identity on disk through a renewal, and after a death at each step of it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from sealane import fileio
from sealane.errors import SealaneError
from sealane.names import DeviceId
from sealane.trust.identity import make_csr, new_key
from sealane_agent.errors import NotEnrolled, Refused
from sealane_agent.identity.passport import Passport
from support.passports import WHO, Office

if TYPE_CHECKING:
    from pathlib import Path

    from sealane_agent.config import IdentityFiles


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


@pytest.fixture
def files(office: Office, tmp_path: Path) -> IdentityFiles:
    return office.enrolled(tmp_path)


def fits(passport: Passport) -> bool:
    """The key that is shown is the one that is certified, and the one that signs."""
    certificate = x509.load_pem_x509_certificate(passport.membership.certificate)
    return certificate.public_key() == passport.key.public_key()


def asked_key(csr: bytes) -> object:
    return x509.load_der_x509_csr(csr).public_key()


def test_the_next_key_is_on_disk_before_it_is_asked_for_and_asked_for_again(
    files: IdentityFiles,
) -> None:
    first = asked_key(Passport(files, WHO).request())
    assert asked_key(Passport(files, WHO).request()) == first
    assert fits(Passport(files, WHO))


def test_a_new_certificate_is_shown_at_once_and_the_old_one_kept_until_it_is_settled(
    office: Office, files: IdentityFiles
) -> None:
    passport = Passport(files, WHO)
    before, old_key = passport.certificate, files.key.read_bytes()
    office.clock.advance(timedelta(hours=16))
    passport.take(office.sign(passport.request()))
    assert passport.certificate != before
    assert fits(passport)
    assert (passport.unsettled, files.key.read_bytes()) == (True, old_key)
    passport.settle()
    assert not passport.unsettled
    assert sorted(path.name for path in files.folder.iterdir()) == [
        "ca.pem",
        "device.json",
        "device.key",
        "device.pem",
    ]
    assert Passport(files, WHO).certificate == passport.certificate


def test_a_device_that_dies_at_any_step_starts_with_a_certificate_that_fits(
    office: Office, files: IdentityFiles
) -> None:
    passport = Passport(files, WHO)
    old = passport.certificate
    office.clock.advance(timedelta(hours=16))
    csr = passport.request()
    assert Passport(files, WHO).certificate == old
    passport.take(office.sign(csr))
    new = passport.certificate
    again = Passport(files, WHO)
    assert (again.certificate, again.unsettled, fits(again)) == (new, True, True)
    fileio.rename(files.next_key, files.key)  # the first half of settling
    again = Passport(files, WHO)
    assert (again.certificate, again.unsettled, fits(again)) == (new, True, True)
    again.settle()
    assert Passport(files, WHO).certificate == new


def test_a_certificate_for_another_key_or_another_device_is_refused(
    office: Office, files: IdentityFiles
) -> None:
    passport = Passport(files, WHO)
    csr, before = passport.request(), passport.certificate
    for wrong in (office.sign(make_csr(new_key())), office.sign(csr, DeviceId("box-2"))):
        with pytest.raises(Refused, match="another certificate"):
            passport.take(wrong)
    with pytest.raises(SealaneError):
        passport.take(b"no certificate")
    assert (passport.certificate, passport.unsettled) == (before, False)


def test_a_folder_without_a_key_for_its_certificate_is_not_enrolled(
    files: IdentityFiles,
) -> None:
    files.key.unlink()
    with pytest.raises(NotEnrolled, match="no certificate with its key") as refused:
        Passport(files, WHO)
    assert f"move {files.folder} away" in refused.value.hint
    assert "what serves stays" in refused.value.hint


def test_a_token_that_does_not_give_its_key_now_is_not_taken_for_a_lost_one(tmp_path: Path) -> None:
    files = Office(tmp_path).enrolled(tmp_path)
    files.key.write_bytes(
        b"pkcs11:token=edge;object=device?module-path=/nowhere.so&pin-source=file:/nowhere\n"
    )
    with pytest.raises(SealaneError) as refused:
        Passport(files, WHO)
    assert not isinstance(refused.value, NotEnrolled)
    assert "enrol again" not in refused.value.hint
