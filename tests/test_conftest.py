"""The guard that keeps the suite off the network."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request

import pytest

DOCUMENTATION_ADDRESS = "192.0.2.1"  # RFC 5737: leads nowhere, should the guard fail


def test_an_address_elsewhere_is_refused_with_the_way_out() -> None:
    with socket.socket() as client, pytest.raises(RuntimeError, match=r"192\.0\.2\.1.*mark the test `network`"):
        client.connect((DOCUMENTATION_ADDRESS, 9))


def test_a_name_is_refused_before_it_is_looked_up() -> None:
    with pytest.raises(RuntimeError, match=r"example\.invalid"):
        urllib.request.urlopen("http://example.invalid", timeout=1)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_is_open(host: str) -> None:
    with (
        socket.create_server((host, 0)) as server,
        socket.create_connection(server.getsockname()[:2], timeout=5) as client,
    ):
        assert client.getpeername()[1] == server.getsockname()[1]
