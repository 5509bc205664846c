"""A client that cannot connect leaves no socket open."""

import socket

import pytest

from monitor.broker.access import parse_access


def test_an_attempt_at_a_socket_where_nobody_listens_leaves_none_open(tmp_path, monkeypatch):
    """Otherwise the garbage collector closes it during a later test, with a warning there."""
    made = []

    class Noted(socket.socket):
        def __init__(self, *words):
            super().__init__(*words)
            made.append(self)

    monkeypatch.setattr(socket, "socket", Noted)
    access = parse_access(f"unix://{tmp_path}/service.sock")
    with pytest.raises(FileNotFoundError):
        access.open_client("x", mqtt5=True).connect(*access.target)
    assert [one.fileno() for one in made] == [-1]
