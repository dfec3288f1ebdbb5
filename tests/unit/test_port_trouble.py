"""What is said of a port that does not open, and what to do about it."""

from __future__ import annotations

import errno
import socket

import grpc
import pytest
from sealane_manager.rpc.servers import Port, not_opened

PORT = Port("fleet", "10.9.9.9", 7443, grpc.ssl_server_credentials([(b"", b"")]), 1024)


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (OSError(errno.EADDRINUSE, "Address already in use"), "choose another with --fleet-port"),
        (OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address"), "with --listen"),
        (socket.gaierror(-2, "Name or service not known"), "with --listen"),
        (RuntimeError("no such key"), "choose another with --fleet-port"),
    ],
)
def test_the_hint_follows_from_what_is_wrong(error: Exception, hint: str) -> None:
    found = not_opened(PORT, error)
    assert str(found).startswith("the fleet port 10.9.9.9:7443 cannot be opened: ")
    assert hint in found.hint
