"""What Sparkplug nodes said at birth: which name an alias stands for. Held in memory, as the connection is.

A node numbers its messages. Where one is missing it may have been a birth, and an alias may mean something else since:
nothing of the node is read until it is born again. What a batch taught is forgotten when the batch is not stored.
"""

from dataclasses import dataclass, field, replace
from typing import Final

NODES_MOST: Final = 1000
DEVICES_MOST: Final = 1000  # of one node
ALIASES_MOST: Final = 100_000  # of all: whoever may publish must not fill our memory
COUNTS: Final = 256  # sequence numbers begin anew after that many


@dataclass(frozen=True, slots=True)
class Metric:
    """What a birth says of an alias."""

    name: str
    datatype: int


@dataclass(frozen=True, slots=True)
class Node:
    """An edge node since its birth; the device of its own metrics is the empty name."""

    epoch: int  # of the connection it was born in
    born: int | None  # its count of connections (bdSeq)
    seq: int
    aliases: dict[str, dict[int, Metric]] = field(default_factory=dict)
    stations: dict[str, frozenset[str]] = field(default_factory=dict)


class Births:
    """Nodes by site, group and name."""

    def __init__(self) -> None:
        self._known: dict[str, Node] = {}
        self._before: dict[str, Node | None] = {}  # of the batch in hand

    def find(self, key: str, epoch: int) -> Node | None:
        """The node as its birth left it; None where no birth of this connection is known."""
        node = self._known.get(key)
        return node if node is not None and node.epoch == epoch else None

    def bear(self, key: str, node: Node) -> None:
        """Remember a birth of a node."""
        self._before.setdefault(key, self._known.get(key))
        if key not in self._known and len(self._known) >= NODES_MOST:
            self._known.pop(next(iter(self._known)))
        self._known[key] = node

    def add_device(self, key: str, device: str, aliases: dict[int, Metric], stations: frozenset[str]) -> None:
        """Remember what the birth of a node or of its device said, and whose readings it brings."""
        node = self._known[key]
        if device not in node.aliases and len(node.aliases) >= DEVICES_MOST:
            return
        held = sum(len(a) for other in self._known.values() for a in other.aliases.values()) + len(aliases)
        for other in list(self._known):  # those that were heard of first go first; they are asked for a new birth
            if held <= ALIASES_MOST:
                break
            if other != key:
                held -= sum(map(len, self._known.pop(other).aliases.values()))
        aliases_of, stations_of = {**node.aliases, device: aliases}, {**node.stations, device: stations}
        self.bear(key, replace(node, aliases=aliases_of, stations=stations_of))

    def count(self, key: str, seq: int) -> bool:
        """Whether a message follows the last one of its node; where it does not, the node is forgotten."""
        node = self._known[key]
        if seq != (node.seq + 1) % COUNTS:
            self.forget(key)
            return False
        self.bear(key, replace(node, seq=seq))
        return True

    def forget(self, key: str) -> None:
        """Read nothing of a node until it is born again."""
        self._before.setdefault(key, self._known.get(key))
        self._known.pop(key, None)

    def settle(self) -> None:
        """What the batch taught is stored with it."""
        self._before.clear()

    def revert(self) -> None:
        """The batch was not stored: it comes again."""
        for key, node in self._before.items():
            if node is None:
                self._known.pop(key, None)
            else:
                self._known[key] = node
        self._before.clear()
