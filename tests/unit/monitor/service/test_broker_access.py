"""A broker that is not there: each attempt ends without a trace."""

import socket

import pytest

from monitor.broker.access import open_access


def test_an_attempt_at_a_socket_where_nobody_listens_leaves_none_open(tmp_path, monkeypatch):
    """Else the collector closes it, in some later test, with a warning there."""
    made = []

    class Noted(socket.socket):
        def __init__(self, *words):
            super().__init__(*words)
            made.append(self)

    monkeypatch.setattr(socket, "socket", Noted)
    access = open_access(f"unix://{tmp_path}/service.sock")
    with pytest.raises(FileNotFoundError):
        access.open_client("x", mqtt5=True).connect(*access.target)
    assert [one.fileno() for one in made] == [-1]
