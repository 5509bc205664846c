"""Names of the metrics of Sparkplug nodes, which a node sends in its birth messages. Later messages use aliases.

The names are held in memory and are valid for one connection. A node numbers its messages. A missing message may have
been a birth that gave an alias another meaning, so the node is forgotten: metrics that are sent by alias only cannot be
read before its next birth. Changes by a batch that is not stored are reverted.
"""

from dataclasses import dataclass, field, replace
from typing import Final

# Publishers must not be able to fill the memory of the service.
NODES_MOST: Final = 1000
DEVICES_MOST: Final = 1000  # of one node
ALIASES_MOST: Final = 100_000  # of all nodes
SEQUENCE_NUMBERS: Final = 256  # the sequence number after 255 is 0


@dataclass(frozen=True, slots=True)
class Metric:
    """Name and data type of an alias."""

    name: str
    datatype: int


@dataclass(frozen=True, slots=True)
class Node:
    """State of an edge node since its birth.

    Attributes:
        connection_number: Number of the connection by which its birth was received.
        bd_seq: Its count of connections (bdSeq).
        seq: Sequence number of its newest message.
        aliases: Metrics by device and alias. The node itself is the device with the empty name.
        stations: Stations whose readings a device sends, by device.
    """

    connection_number: int
    bd_seq: int | None
    seq: int
    aliases: dict[str, dict[int, Metric]] = field(default_factory=dict)
    stations: dict[str, frozenset[str]] = field(default_factory=dict)


class Births:
    """Nodes by a key of site, group and name."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self._before_batch: dict[str, Node | None] = {}  # state of the nodes that this batch has changed

    def find(self, key: str, connection_number: int) -> Node | None:
        """Return a node; None if no birth was received by this connection."""
        node = self._nodes.get(key)
        return node if node is not None and node.connection_number == connection_number else None

    def store(self, key: str, node: Node) -> None:
        """Store the state of a node. The oldest node is forgotten if there are too many."""
        self._before_batch.setdefault(key, self._nodes.get(key))
        if key not in self._nodes and len(self._nodes) >= NODES_MOST:
            self._nodes.pop(next(iter(self._nodes)))
        self._nodes[key] = node

    def add_device(self, key: str, device: str, aliases: dict[int, Metric], stations: frozenset[str]) -> None:
        """Store the metrics and stations of a device of a node after its birth.

        A device beyond `DEVICES_MOST` is ignored. The oldest other nodes are forgotten if there are too many aliases.
        Their next message by alias causes a request for a new birth.
        """
        node = self._nodes[key]
        if device not in node.aliases and len(node.aliases) >= DEVICES_MOST:
            return
        count = len(aliases) + sum(_count_aliases(other) for other in self._nodes.values())
        for other_key in list(self._nodes):
            if count <= ALIASES_MOST:
                break
            if other_key != key:
                count -= _count_aliases(self._nodes.pop(other_key))
        aliases_by_device = {**node.aliases, device: aliases}
        stations_by_device = {**node.stations, device: stations}
        self.store(key, replace(node, aliases=aliases_by_device, stations=stations_by_device))

    def advance(self, key: str, seq: int) -> bool:
        """Return whether a sequence number follows the last one of its node. If it does not, forget the node."""
        node = self._nodes[key]
        if seq != (node.seq + 1) % SEQUENCE_NUMBERS:
            self.forget(key)
            return False
        self.store(key, replace(node, seq=seq))
        return True

    def forget(self, key: str) -> None:
        """Forget a node, so that its aliases are unknown until its next birth."""
        self._before_batch.setdefault(key, self._nodes.get(key))
        self._nodes.pop(key, None)

    def commit(self) -> None:
        """Note that the batch is stored."""
        self._before_batch.clear()

    def roll_back(self) -> None:
        """Undo the changes of a batch that was not stored. The same messages will be read again."""
        for key, node in self._before_batch.items():
            if node is None:
                self._nodes.pop(key, None)
            else:
                self._nodes[key] = node
        self._before_batch.clear()


def _count_aliases(node: Node) -> int:
    return sum(len(aliases) for aliases in node.aliases.values())
