from __future__ import annotations

import os
import socket

import pytest
from sealane_agent.oip.peers import user_of


@pytest.mark.parametrize("form", ["ipv4:{}:{}", "ipv6:%5B::ffff:{}%5D:{}", "ipv6:[::ffff:{}]:{}"])
def test_the_kernel_says_whose_connection_it_is(form: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, (host, port) = listener.accept()
        assert user_of(form.format(host, port)) == os.getuid()
        client.close()
        server.close()
    assert user_of(form.format(host, port)) is None


def test_a_client_of_a_unix_socket_brings_its_user() -> None:
    assert user_of("unix:1234:5") == 1234


@pytest.mark.parametrize("client", ["", "ipv4:10.1.2.3:9", "ipv4:x:1", "ipv4:127.0.0.1:70000", "?"])
def test_who_is_elsewhere_or_nowhere_is_nobody_here(client: str) -> None:
    assert user_of(client) is None
