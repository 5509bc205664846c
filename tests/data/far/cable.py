"""A network between two machines that a test can cut."""

import contextlib
import socket
import threading


class Cable:
    """The network between a machine and the server; `cut` leaves both ends without a word, as a pulled cable does."""

    def __init__(self, port: int) -> None:
        self._port, self._whole = port, threading.Event()
        self._whole.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._ends = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._ends.append(near := self._listener.accept()[0])
                try:
                    self._ends.append(far := socket.create_connection(("127.0.0.1", self._port)))
                except OSError:  # a server that is down
                    near.close()
                    continue
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while content := one.recv(65536):
                self._whole.wait()
                other.sendall(content)
            other.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        self._whole.clear()

    def mend(self) -> None:
        self._whole.set()

    def close(self) -> None:
        self.mend()
        for one in self._ends:
            one.close()
