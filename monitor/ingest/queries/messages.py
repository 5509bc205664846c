"""What came that is no reading: the quarantine, observers' reports, and what never came."""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, bindparam, case, delete, func, select, tuple_, update

from monitor.ingest.tables import quarantine_source, rejected_message, sequence_gap, sequence_state
from monitor.readings.queries.observations import in_chunks
from monitor.readings.records import PayloadSize
from monitor.storage.engine import insert
from monitor.storage.retention import Deleted, RetentionRule, Sweep
from monitor.storage.rows import fill_row, load_records, read_record, record_to_dict, save_rows

KEPT_BYTES: Final = 1 << 20  # a rejected payload up to here is kept whole: more no decoder reads
BEGINNING_BYTES: Final = 1 << 16  # of a larger one, to see what it was; its true size is stored beside
_CHUNK: Final = 1000
_FEW: Final = 300  # keys of three columns in one question
# of one station, for a sender may invent them: what it counts beyond is forgotten, what it sends is stored all the same
MOST_BOOTS: Final = 64
MOST_GAPS: Final = 10_000  # open at a time
_FULL: Final = (2**16, 2**32)  # counts that go on at 0
_NEAR: Final = 1000  # messages that may be missing where a count is full
_Boot = tuple[str, str, int]  # site, source, boot_id


ROW_BYTES: Final = 512  # that a row takes beside its payload: the smallest messages are not free
MOST_SOURCES: Final = 1000  # senders choose topics; behind so many, all others are one
OTHERS: Final = "(all others)"
DENIED_BY_BROKER: Final = "denied"  # the code of what the broker itself refused
TOO_LARGE: Final = "too_large"  # code of a message with too many bytes
LOGIN: Final = "login:"  # before the login, as the client of such a row
_MEGABYTE: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Quota:
    """Bytes that the quarantine may keep."""

    total_bytes: int = 256 * _MEGABYTE
    source_bytes: int = 32 * _MEGABYTE

    @classmethod
    def of_megabytes(cls, total: int, source: int) -> "Quota":
        """In all, and of one source."""
        return cls(total * _MEGABYTE, source * _MEGABYTE)


@lru_cache(4096)
def find_source(topic: str, client: str) -> str:
    """Who sent a message, by the part of its topic that a broker can bind to a credential.

    >>> find_source("slopeward/v1/north/G1/obs", "live"), find_source("app/7/device/3/up", "live")
    ('slopeward/v1/north/G1', 'app/7/device/3')
    >>> find_source("file/north", "file:a.csv"), find_source("slopeward/v1/other/G1/obs", "login:north.G1")
    ('file/north', 'login:north.G1')
    """
    if client.startswith(LOGIN):  # the topic is another's
        return client[:200]
    return "/".join(topic.split("/")[:4])[:200] if not client.startswith("file:") else topic[:200]


class QuarantineSpace:
    """The room left in the quarantine, within one write transaction; `close` writes what became of it."""

    def __init__(self, connection: Connection, quota: Quota) -> None:
        q = quarantine_source.c
        self._connection, self._quota = connection, quota
        kept = connection.execute(select(q.source, q.kept_bytes))
        self._kept: dict[str, int] = {row.source: row.kept_bytes for row in kept}
        self._total = sum(self._kept.values())
        self._added: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])  # bytes kept, rows kept, messages not kept

    def take(self, source: str, payload_bytes: int, times: int) -> bool:
        """Whether a message may be kept; either way it is counted."""
        if source not in self._kept:
            source = source if len(self._kept) < MOST_SOURCES else OTHERS
            self._kept.setdefault(source, 0)
        size = ROW_BYTES + payload_bytes
        added = self._added[source]
        if self._kept[source] + size > self._quota.source_bytes or self._total + size > self._quota.total_bytes:
            added[2] += times
            return False
        self._kept[source] += size
        self._total += size
        added[0], added[1] = added[0] + size, added[1] + 1
        return True

    def close(self, now: datetime) -> int:
        """Write the counts; returns how many messages were not kept."""
        facts = [  # in one order: two writers never cross
            {"source": source, "kept_bytes": size, "kept_rows": rows, "unkept": unkept}
            | {"unkept_at": now if unkept else None}
            for source, (size, rows, unkept) in sorted(self._added.items())
        ]
        if facts:
            row = insert(self._connection, quarantine_source)
            own, new = quarantine_source.c, row.excluded
            grown: dict[str, Any] = {name: own[name] + new[name] for name in ("kept_bytes", "kept_rows", "unkept")}
            grown["unkept_at"] = func.coalesce(new.unkept_at, own.unkept_at)
            self._connection.execute(row.on_conflict_do_update(index_elements=["source"], set_=grown), facts)
        return sum(unkept for _, _, unkept in self._added.values())


def prune_quarantine(connection: Connection, before_at: datetime, rows: int) -> int:
    """Delete at most so many of the messages received before an instant, and give their room back."""
    r, q = rejected_message.c, quarantine_source.c
    count = _drop(connection, r.received_at < before_at, rows)
    if not count:  # names of sources are the senders' too: those with nothing left go with their last message
        stale = (q.kept_rows == 0) & (q.unkept_at.is_(None) | (q.unkept_at < before_at))
        connection.execute(delete(quarantine_source).where(stale))
    return count


def _drop(connection: Connection, which: ColumnElement[bool], most: int | None) -> int:
    """Delete messages and give their room back; returns how many."""
    r, q = rejected_message.c, quarantine_source.c
    doomed = connection.execute(
        select(r.id, r.topic, r.client, func.length(r.payload).label("size")).where(which).limit(most)
    ).all()
    freed: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    known = set(connection.execute(select(q.source)).scalars())
    for row in doomed:
        source = find_source(row.topic, row.client)
        of = freed[source if source in known else OTHERS]
        of[0], of[1] = of[0] + ROW_BYTES + row.size, of[1] + 1
    for source, (size, count) in freed.items():
        less = ((q.kept_bytes, size), (q.kept_rows, count))
        left = {column.name: case((column > by, column - by), else_=0) for column, by in less}
        connection.execute(update(quarantine_source).where(q.source == source).values(left))
    for some in in_chunks(doomed, _FEW):
        connection.execute(delete(rejected_message).where(r.id.in_([one.id for one in some])))
    return len(doomed)


@dataclass(frozen=True, slots=True)
class RejectedMessage:
    """A message, or the bad part of one, that could not be read: raw bytes and the reason."""

    received_at: datetime
    topic: str
    payload: bytes
    code: str  # stable
    reason: str  # for people
    client: str  # live, backfill, file:<name>, or login:<name>
    id: int | None = None
    times: int = 1
    retained: bool = False  # the broker had kept it: when it was sent nobody knows
    is_cut: bool = False  # only the beginning of it is kept
    whole: PayloadSize | None = None  # of a payload that did not come here as a whole

    @property
    def payload_bytes(self) -> int:
        """How many bytes came."""
        return len(self.payload) if self.whole is None else self.whole.payload_bytes

    @property
    def digest(self) -> str:
        """SHA-256 of topic and payload: the same rubbish again is counted, not stored again."""
        if self.whole is not None:
            return self.whole.digest
        found = hashlib.sha256(self.topic.encode("utf-8", "replace") + b"\0")
        # a megabyte that is put behind its topic is copied, and no other thread runs meanwhile
        found.update(self.payload)
        return found.hexdigest()


@dataclass(frozen=True, slots=True)
class SequenceMark:
    """A publisher's own count of a message: `seq` of `boot_id` of `source`."""

    site: str
    station: str
    source: str
    boot_id: int
    seq: int
    at: datetime  # of the newest datum in it


@dataclass(frozen=True, slots=True)
class SequenceGap:
    """Messages from_seq..to_seq (both missing; to_seq None = no end known) of one boot of one source."""

    site: str
    station: str
    source: str
    boot_id: int
    from_seq: int
    to_seq: int | None
    from_at: datetime | None
    to_at: datetime | None
    id: int | None = None


def add_rejected(connection: Connection, messages: Sequence[RejectedMessage], quota: Quota | None = None) -> int:
    """Store messages in the quarantine; one that waits there already is counted again.

    `quota`: what the quarantine may keep; messages beyond it are counted by their source.

    Returns:
        How many messages were only counted.
    """
    if not messages:
        return 0
    times: dict[str, int] = defaultdict(int)
    first: dict[str, RejectedMessage] = {}
    for message in messages:
        digest = message.digest
        times[digest] += message.times
        if digest not in first or (first[digest].retained and not message.retained):
            first[digest] = message
    digests = list(first)
    r = rejected_message.c
    again = update(rejected_message).where(r.id == bindparam("of")).values(times=r.times + bindparam("more"))
    for some in in_chunks(digests, _CHUNK):
        waiting = select(r.id, r.digest, r.retained).where(r.digest.in_(some), r.replayed_at.is_(None))
        known = connection.execute(waiting).all()
        if known:
            connection.execute(again, [{"of": row.id, "more": times[row.digest]} for row in known])
        for row in known:
            same = first.pop(row.digest, None)
            if row.retained and same is not None and not same.retained:  # now it is known when it was sent
                sent = {"retained": False, "received_at": same.received_at, "client": same.client}
                connection.execute(update(rejected_message).where(r.id == row.id).values(sent))
    room = QuarantineSpace(connection, quota or Quota())
    first = {
        digest: m
        for digest, m in first.items()
        if room.take(find_source(_text(m.topic), m.client), len(_kept(m.payload)), times[digest])
    }
    if first:
        connection.execute(
            rejected_message.insert(),
            [
                fill_row(rejected_message, m, digest=digest, times=times[digest])
                | {"topic": _text(m.topic), "payload": _kept(m.payload), "reason": _text(m.reason)}
                for digest, m in first.items()
            ],
        )
    return room.close(max(m.received_at for m in messages))


def _kept(payload: bytes) -> bytes:
    return payload if len(payload) <= KEPT_BYTES else payload[:BEGINNING_BYTES]


def _text(text: str) -> str:
    """Text that both databases take: no NUL, no lone surrogates; a message stays one where it has none."""
    plain = text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
    return text if plain == text else plain


def load_rejected(connection: Connection, *, after_id: int = 0, limit: int = 1000) -> list[RejectedMessage]:
    """Quarantined messages that were not replayed, by rising id."""
    r = rejected_message.c
    wanted = select(rejected_message).where(r.id > after_id, r.replayed_at.is_(None))
    return [
        read_record(RejectedMessage, x, payload=bytes(x.payload), is_cut=x.payload_bytes > len(x.payload))
        for x in connection.execute(wanted.order_by(r.id).limit(limit))
    ]


def mark_replayed(connection: Connection, rejected_id: int, result: str, now: datetime) -> None:
    """Write what became of a quarantined message when it was read again."""
    connection.execute(
        update(rejected_message)
        .where(rejected_message.c.id == rejected_id)
        .values(replayed_at=now, replay_result=_text(result))
    )


def note_sequences(connection: Connection, marks: Sequence[SequenceMark], now: datetime) -> list[SequenceGap]:
    """Note the counts of a batch of messages; returns the gaps that opened. What came late closes or splits a gap.

    A count of 16 or 32 bits that is full goes on at 0.

    The first count of a boot is where counting starts: what came before it is unknown, not missing. Of each station so
    many boots are kept, and so many gaps are open at a time.
    """
    by_key: dict[_Boot, dict[int, SequenceMark]] = defaultdict(dict)
    for mark in marks:
        by_key[mark.site, mark.source, mark.boot_id][mark.seq] = mark
    states = _load_states(connection, list(by_key))
    opened: list[SequenceGap] = []
    ends: dict[_Boot, SequenceMark] = {}
    for key, seen in by_key.items():
        state = states.get(key)
        last_seq: int | None = None if state is None else state.last_seq
        last_at: datetime | None = None if state is None else state.last_at
        late: list[int] = []
        full, ordered = _lay_in_order(seen, last_seq)
        for seq, mark in ordered:
            if last_seq is not None and seq <= last_seq:
                late.append(mark.seq)
                continue
            if last_seq is not None and seq > last_seq + 1:
                for first, last in _split(last_seq + 1, seq - 1, full):
                    opened.append(SequenceGap(key[0], mark.station, *key[1:], first, last, last_at, mark.at))
            last_seq, last_at, ends[key] = seq, mark.at, mark
        if late:
            _fill(connection, *key, sorted(late), now)
    opened = _within_room(connection, opened)
    if opened:
        rows = [record_to_dict(gap) | {"detected_at": now} for gap in opened]
        connection.execute(sequence_gap.insert(), [{k: v for k, v in row.items() if k != "id"} for row in rows])
    if ends:
        _save_states(connection, list(ends.values()))
        _forget_boots(connection, {(m.site, m.station) for key, m in ends.items() if key not in states})
    return opened


def _lay_in_order(seen: Mapping[int, SequenceMark], last_seq: int | None) -> tuple[int, list[tuple[int, SequenceMark]]]:
    """Where a count is full, and messages in their order: those after a full count are counted on beyond it."""
    known = [*seen, *([] if last_seq is None else [last_seq])]
    full = next((f for f in _FULL if f - _NEAR <= max(known) < f), 0)
    if full and min(known) < _NEAR:
        if last_seq is not None and last_seq < _NEAR:  # it went on before this batch: what was counted before is late
            seen = {seq - full if seq >= full - _NEAR else seq: mark for seq, mark in seen.items()}
        else:
            seen = {seq + full if seq < _NEAR else seq: mark for seq, mark in seen.items()}
    return full, sorted(seen.items())


def _split(first: int, last: int, full: int) -> list[tuple[int, int]]:
    """A stretch of counts in parts that hold counts as they are sent."""
    if not full or last < full:
        return [(first, last)]
    return [(a % full, b % full) for a, b in ((first, full - 1), (max(first, full), last)) if a <= b]


def _load_states(connection: Connection, keys: Sequence[_Boot]) -> dict[_Boot, Any]:
    """What is known of each of these boots: one question for many, for a sender may invent one for each message."""
    s, found = sequence_state.c, dict[_Boot, Any]()
    for some in in_chunks(keys, _FEW):
        for row in connection.execute(select(sequence_state).where(tuple_(s.site, s.source, s.boot_id).in_(some))):
            found[row.site, row.source, row.boot_id] = row
    return found


def _save_states(connection: Connection, marks: Sequence[SequenceMark]) -> None:
    ordered = sorted(marks, key=lambda m: (m.site, m.source, m.boot_id))  # one order: two writers never cross
    rows = [fill_row(sequence_state, m, last_seq=m.seq, last_at=m.at) for m in ordered]
    save_rows(connection, sequence_state, rows)


def _forget_boots(connection: Connection, stations: Collection[tuple[str, str]]) -> None:
    """Keep so many boots of each of these stations, those with the newest data: the sender chooses their numbers."""
    s = sequence_state.c
    for site, station in sorted(stations):
        of_station = (s.site == site) & (s.station == station)
        newest_first = select(s.source, s.boot_id).where(of_station).order_by(s.last_at.desc(), s.boot_id.desc())
        boots = [tuple(row) for row in connection.execute(newest_first.offset(MOST_BOOTS))]
        for some in in_chunks(boots, _FEW):
            connection.execute(delete(sequence_state).where(of_station, tuple_(s.source, s.boot_id).in_(some)))


def _within_room(connection: Connection, gaps: Sequence[SequenceGap]) -> list[SequenceGap]:
    """Those gaps for which there is room: so many may be open for each station."""
    g = sequence_gap.c
    left: dict[tuple[str, str], int] = {}
    kept = []
    for gap in gaps:
        key = gap.site, gap.station
        if key not in left:
            waiting = select(func.count()).where(g.site == gap.site, g.station == gap.station, g.filled_at.is_(None))
            left[key] = MOST_GAPS - connection.execute(waiting).scalar_one()
        left[key] -= 1
        if left[key] >= 0:
            kept.append(gap)
    return kept


def _fill(connection: Connection, site: str, source: str, boot_id: int, late: list[int], now: datetime) -> None:
    g = sequence_gap.c
    mine = (g.site == site, g.source == source, g.boot_id == boot_id, g.filled_at.is_(None))
    touched = (g.from_seq <= late[-1], g.to_seq >= late[0])
    open_gaps = connection.execute(select(sequence_gap).where(*mine, *touched)).all()
    for gap in open_gaps:
        came = [seq for seq in late if gap.from_seq <= seq <= gap.to_seq]
        if not came:
            continue
        bounds = [gap.from_seq - 1, *came, gap.to_seq + 1]
        parts = [(a + 1, b - 1) for a, b in pairwise(bounds) if b - a > 1]
        if not parts:
            connection.execute(update(sequence_gap).where(g.id == gap.id).values(filled_at=now))
            continue
        (from_seq, to_seq), *others = parts
        connection.execute(update(sequence_gap).where(g.id == gap.id).values(from_seq=from_seq, to_seq=to_seq))
        if others:
            kept = {k: v for k, v in gap._mapping.items() if k != "id"}  # noqa: SLF001
            connection.execute(sequence_gap.insert(), [{**kept, "from_seq": a, "to_seq": b} for a, b in others])


def load_open_gaps(connection: Connection, *, not_requested_since: datetime | None = None) -> list[SequenceGap]:
    """Return the gaps that are not filled; with `not_requested_since` only those not requested since then."""
    g = sequence_gap.c
    wanted = select(sequence_gap).where(g.filled_at.is_(None))
    if not_requested_since is not None:
        wanted = wanted.where(g.requested_at.is_(None) | (g.requested_at < not_requested_since))
    return load_records(connection, SequenceGap, wanted.order_by(g.id).limit(1000))


def load_sequence_ends(connection: Connection) -> list[SequenceMark]:
    """The newest count of every source's newest boot: where to ask from when the broker lost its queue."""
    s = sequence_state.c
    known = select(sequence_state, s.last_seq.label("seq"), s.last_at.label("at"))
    found = load_records(connection, SequenceMark, known.order_by(s.site, s.source, s.boot_id))
    return list({(mark.site, mark.source): mark for mark in found}.values())


def mark_requested(connection: Connection, gap_ids: Sequence[int], now: datetime) -> None:
    """Write that the publishers were asked for these gaps."""
    if gap_ids:
        connection.execute(update(sequence_gap).where(sequence_gap.c.id.in_(list(gap_ids))).values(requested_at=now))


def delete_superseded_rows(connection: Connection, topic: str, client: str) -> int:
    """Delete what waits of an earlier version of a file that is about to be read again as a whole."""
    r = rejected_message.c
    return _drop(connection, (r.topic == topic) & (r.client == client) & r.replayed_at.is_(None), None)


def _sweep_quarantine(sweep: Sweep, before_at: datetime) -> None:
    def prune(connection: Connection) -> Deleted:
        return Deleted(prune_quarantine(connection, before_at, sweep.rows_at_once))

    while sweep.step("rejected_message", before_at, prune):
        pass


RETENTION_RULES: Final = (RetentionRule("quarantine", "messages that could not be read", _sweep_quarantine),)
