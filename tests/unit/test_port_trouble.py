"""What is said of a port that does not open, and what to do about it."""

from __future__ import annotations

import asyncio
import errno
import socket
from dataclasses import replace

import grpc
import pytest
from sealane.errors import SealaneError
from sealane_manager.rpc.servers import Listener, Port, not_opened, open_port

LISTENER = Listener("10.9.9.9", 7443, 16)
PORT = Port("fleet", LISTENER, grpc.ssl_server_credentials([(b"", b"")]), 1024)


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


@pytest.mark.parametrize("number", [0, 7443])
def test_an_address_that_is_not_this_machines_is_told_also_for_any_free_port(number: int) -> None:
    wanted = replace(PORT, listener=Listener("192.0.2.77", number, 16))
    with pytest.raises(SealaneError, match="Cannot assign requested address") as refused:
        asyncio.run(open_port(wanted))
    assert "--listen" in refused.value.hint
