"""A failed connection of an MQTT client."""

import socket

import pytest

from monitor.broker.access import parse_access


def test_failed_connection_closes_its_socket(tmp_path, monkeypatch):
    """Otherwise the garbage collector closes the socket during a later test, which then gets a warning."""
    sockets = []

    class RecordedSocket(socket.socket):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            sockets.append(self)

    monkeypatch.setattr(socket, "socket", RecordedSocket)
    access = parse_access(f"unix://{tmp_path}/service.sock")
    with pytest.raises(FileNotFoundError):
        access.open_client("x", mqtt5=True).connect(*access.target)
    assert [created.fileno() for created in sockets] == [-1]
