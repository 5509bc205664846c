"""How sites are divided among processes of ingest: who stores what, and by which sessions of the broker it comes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from monitor.domain.site import Binding, Site
from monitor.ingest.decoders.table import is_undated
from monitor.ingest.message import BACKFILL_FILTERS, LIVE_FILTER, ROOT

LIVE, BACKFILL, REST = "live", "backfill", "rest"


@dataclass(frozen=True, slots=True)
class BrokerSession:
    """One session at the broker."""

    name: str  # live, backfill or rest
    client_id: str  # under which the broker keeps it
    filters: tuple[str, ...]  # topics that are subscribed
    # those of `filters` whose readings count from their reception, so that none may have waited
    undated: frozenset[str] = frozenset()

    @property
    def is_kept(self) -> bool:
        """Whether the broker keeps it, with what comes, while nobody is there."""
        return self.name != REST


@dataclass(frozen=True, slots=True)
class Share:
    """What one process of ingest takes."""

    client_id: str  # of the session for live data; the others add a word to it
    number: int = 0  # of the process, from 1; 0 is the core itself, which takes all
    sites: frozenset[str] | None = None  # those it stores; None: every one, and what no site file names
    # sites of the other processes; the first process also takes what no site file names
    others: frozenset[str] = frozenset()

    @property
    def takes_rest(self) -> bool:
        """Whether it stores what belongs to no site that is configured."""
        return self.number <= 1

    def takes(self, site: str) -> bool:
        """Whether messages of a site are stored here."""
        return self.sites is None or site in self.sites or (self.takes_rest and site not in self.others)

    def listen(self, sites: Mapping[str, Site]) -> tuple[BrokerSession, ...]:
        """Its sessions: those for live data and for what is caught up on are kept by the broker while it is away."""
        own = [site for site in sites.values() if self.sites is None or site.id in self.sites]
        bindings: list[Binding] = [binding for site in own for binding in site.decoders]
        undated = frozenset(b.topic for b in bindings if is_undated(b))
        live: Iterable[str] = (LIVE_FILTER,)
        backfill: Iterable[str] = BACKFILL_FILTERS
        if self.sites is not None:
            named = sorted(self.sites)
            live = (f"{ROOT}{site}/+/obs" for site in named)
            backfill = (f"{ROOT}{site}/{end}" for site in named for end in ("+/backfill/obs", "report", "event"))
        topics = tuple(dict.fromkeys((*live, *(b.topic for b in bindings))))
        found = (
            BrokerSession(LIVE, self.client_id, topics, undated),
            BrokerSession(BACKFILL, f"{self.client_id}-{BACKFILL}", tuple(backfill)),
        )
        if self.sites is None or not self.takes_rest:
            return found
        # no filter says "all but these": every message comes here too, at QoS 0, so that the broker keeps no copy of it
        every = (LIVE_FILTER, *BACKFILL_FILTERS)
        return (*found, BrokerSession(REST, f"{self.client_id}-{REST}", every, frozenset(every)))


@dataclass(frozen=True, slots=True)
class Division:
    """Which process takes which site.

    >>> two = Division("slopeward", 2).renew({"a": 9, "b": 2, "c": 3})
    >>> two.sites
    {'a': 1, 'c': 2, 'b': 2}
    >>> two.renew({"a": 9, "c": 3, "d": 1}).sites  # none that stays moves
    {'a': 1, 'c': 2, 'd': 2}
    """

    client_id: str
    processes: int = 1
    sites: Mapping[str, int] = field(default_factory=dict)

    def renew(self, weights: Mapping[str, int]) -> "Division":
        """The same with the sites there are now: those that have a process keep it, new ones go to the least loaded."""
        kept = {site: k for site, k in self.sites.items() if site in weights and 1 <= k <= self.processes}
        loads = dict.fromkeys(range(1, self.processes + 1), 0)
        for site, k in kept.items():
            loads[k] += weights[site]
        for site in sorted(weights.keys() - kept.keys(), key=lambda s: (-weights[s], s)):
            least = min(loads, key=lambda k: (loads[k], k))
            kept[site] = least
            loads[least] += weights[site]
        return Division(self.client_id, self.processes, kept)

    def shares(self) -> tuple[Share, ...]:
        """What each process takes. Their sessions bear the number of processes: another number, other sessions."""
        if self.processes == 1:
            return (Share(self.client_id),)
        of = {k: frozenset(s for s, n in self.sites.items() if n == k) for k in range(1, self.processes + 1)}
        every = frozenset(self.sites)
        return tuple(Share(f"{self.client_id}-{k}of{self.processes}", k, own, every - own) for k, own in of.items())


def count_stations(sites: Iterable[Site]) -> dict[str, int]:
    """How much each site brings: its stations."""
    return {site.id: len(site.stations) + 1 for site in sites}


def find_kept(shares: Iterable[Share]) -> tuple[str, ...]:
    """The client ids under which the broker may keep messages."""
    return tuple(one.client_id for share in shares for one in share.listen({}) if one.is_kept)
