"""A fleet's CA and a device's identity folder, without a manager."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sealane import fileio
from sealane.names import DeviceId
from sealane.trust.identity import key_to_pem, make_csr, new_key
from sealane_agent.config import Identity, IdentityFiles
from sealane_manager.identity.ca import Issuer
from support.clock import MovableClock

if TYPE_CHECKING:
    from pathlib import Path

DEVICE = DeviceId("box-1")
WHO = Identity(DEVICE, "demo", "127.0.0.1:1")
LIFE = timedelta(hours=24)


class Office:
    """Signs certificates of a device at a time that tests move."""

    def __init__(self, folder: Path) -> None:
        self.clock = MovableClock()
        self.issuer = Issuer.create(folder / "ca", "demo", self.clock)

    def sign(self, csr: bytes, device: DeviceId = DEVICE) -> bytes:
        return self.issuer.sign_device(csr, "demo", device)

    def enrolled(self, folder: Path) -> IdentityFiles:
        """The identity of a device that has just been enrolled."""
        files, key = IdentityFiles(folder / "identity"), new_key()
        fileio.make_folder(files.folder)
        fileio.replace(files.key, key_to_pem(key))
        fileio.replace(files.certificate, self.sign(make_csr(key)))
        fileio.replace(files.ca, self.issuer.certificate)
        fileio.replace(files.description, WHO.encode())
        return files
