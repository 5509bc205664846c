"""How sites are divided among processes of ingest: who stores what, and by which sessions of the broker it comes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from monitor.domain.site import Site
from monitor.ingest.message import BACKFILL_FILTERS, LIVE_FILTER, ROOT, STRAY_FILTERS, BrokerMessage, locate, matches
from monitor.ingest.mqtt import BrokerSession
from monitor.ingest.service import BACKFILL, LIVE, Ingest, IngestContext, list_sessions

REST = "rest"


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
        if self.sites is None:
            return list_sessions(self.client_id, sites.values())
        named = sorted(self.sites)
        live = [f"{ROOT}{site}/+/obs" for site in named]
        backfill = [f"{ROOT}{site}/{end}" for site in named for end in ("+/backfill/obs", "report", "event")]
        own = [site for site in sites.values() if site.id in self.sites]
        found = list_sessions(self.client_id, own, live, backfill)
        if not self.takes_rest:
            return found
        # no filter says "all but these": every message comes here too, at QoS 0, so that the broker keeps no copy of it
        every = (LIVE_FILTER, *STRAY_FILTERS, *BACKFILL_FILTERS)
        return (*found, BrokerSession(REST, f"{self.client_id}-{REST}", every, frozenset(every), is_kept=False))


class SharedIngest(Ingest):
    """Ingest of one process: what its share says is taken here."""

    def __init__(self, context: IngestContext, share: Share) -> None:
        self._share, self.own_sites = share, share.sites
        super().__init__(context)

    def _listen(self) -> tuple[BrokerSession, ...]:
        return self._share.listen(self._pipeline.sites)

    def takes(self, site: str) -> bool:
        """Whether messages of a site are stored here."""
        return self._share.takes(site)

    def _receive(self, message: BrokerMessage) -> None:
        if message.client == REST:  # what belongs to a site that is configured comes by another session as well
            place = locate(message.topic)
            if place is not None and place.site in self._pipeline.sites:
                return
            message.client = LIVE if matches(LIVE_FILTER, message.topic) else BACKFILL
        super()._receive(message)

    def _session_key(self, name: str) -> str:
        return f"{super()._session_key(name)}:{self._share.number}"


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
