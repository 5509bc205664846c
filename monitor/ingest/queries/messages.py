"""SQL of the quarantine and of sequence numbers.

The quarantine holds messages that were not stored as readings: unreadable messages, messages over a limit, and messages
that the database or the managed broker refused. Sequence numbers of publishers show which messages are missing.
Senders choose topics, names and numbers, so everything that is stored of them is limited.
"""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, bindparam, case, delete, func, select, tuple_, update

from monitor.ingest.payload_limits import BEGINNING_BYTES, PAYLOAD_LIMIT
from monitor.ingest.tables import quarantine_source, rejected_message, sequence_gap, sequence_state
from monitor.readings.queries.observations import in_chunks
from monitor.readings.records import PayloadSize
from monitor.storage.engine import insert
from monitor.storage.retention import Deleted, RetentionRule, Sweep
from monitor.storage.rows import fill_row, load_records, record_to_dict, row_to_record, save_rows

# Bytes of a row without its payload, so that small messages count too.
ROW_BYTES: Final = 512
# The quarantine counts this number of senders apart, and all others together.
MOST_SENDERS: Final = 1000
OTHERS: Final = "(all others)"
# Codes of refusals in the log of the broker, whose client is the login. Ingest uses TOO_LARGE as well.
DENIED_BY_BROKER: Final = "denied"
TOO_LARGE: Final = "too_large"
LOGIN: Final = "login:"
# Boots of a station whose sequence numbers are stored. Readings of other boots are stored all the same.
MOST_BOOTS: Final = 64
# Open gaps of a station.
MOST_GAPS: Final = 10_000
_CHUNK: Final = 1000  # keys of one column in one statement
_FEW: Final = 300  # keys of three columns in one statement
# Sequence numbers of 16 and 32 bits continue at 0 after these numbers.
_COUNTER_SIZES: Final = (2**16, 2**32)
# Number of messages that may be missing where a counter restarts at 0.
_NEAR: Final = 1000
_MEGABYTE: Final = 1_000_000
_Boot = tuple[str, str, int]  # site, source, boot_id


@dataclass(frozen=True, slots=True)
class Quota:
    """Bytes that the quarantine may store, of all senders and of one sender."""

    total_bytes: int = 256 * _MEGABYTE
    sender_bytes: int = 32 * _MEGABYTE

    @classmethod
    def of_megabytes(cls, total: int, sender: int) -> "Quota":
        """Return a quota for all senders and for one sender."""
        return cls(total * _MEGABYTE, sender * _MEGABYTE)


@lru_cache(4096)
def find_sender(topic: str, client: str) -> str:
    """Return the sender of a message: the part of its topic that a broker can bind to a login.

    Args:
        topic: Topic of the message.
        client: Session, file or login by which it was received. A message that the broker refused counts for its login,
            because its topic may belong to another sender.

    >>> find_sender("slopeward/v1/north/G1/obs", "live"), find_sender("app/7/device/3/up", "live")
    ('slopeward/v1/north/G1', 'app/7/device/3')
    >>> find_sender("file/north", "file:a.csv"), find_sender("slopeward/v1/other/G1/obs", "login:north.G1")
    ('file/north', 'login:north.G1')
    """
    if client.startswith(LOGIN):
        return client[:200]
    if client.startswith("file:"):
        return topic[:200]
    return "/".join(topic.split("/")[:4])[:200]


@dataclass(slots=True)
class _Usage:
    """What one transaction adds to the quarantine for a sender."""

    kept_bytes: int = 0
    kept_rows: int = 0
    unkept: int = 0  # messages that were counted without storing their payload


class QuarantineSpace:
    """Space that is left in the quarantine within one write transaction. Call `close` at its end."""

    def __init__(self, connection: Connection, quota: Quota) -> None:
        q = quarantine_source.c
        self._connection = connection
        self._quota = quota
        rows = connection.execute(select(q.source, q.kept_bytes))
        self._kept_bytes: dict[str, int] = {row.source: row.kept_bytes for row in rows}
        self._total_bytes = sum(self._kept_bytes.values())
        self._added: dict[str, _Usage] = defaultdict(_Usage)

    def take(self, sender: str, payload_bytes: int, times: int) -> bool:
        """Take space for a message and return True, or count it and return False if there is no space."""
        if sender not in self._kept_bytes:
            sender = sender if len(self._kept_bytes) < MOST_SENDERS else OTHERS
            self._kept_bytes.setdefault(sender, 0)
        size = ROW_BYTES + payload_bytes
        added = self._added[sender]
        exceeds_sender = self._kept_bytes[sender] + size > self._quota.sender_bytes
        if exceeds_sender or self._total_bytes + size > self._quota.total_bytes:
            added.unkept += times
            return False
        self._kept_bytes[sender] += size
        self._total_bytes += size
        added.kept_bytes += size
        added.kept_rows += 1
        return True

    def close(self, now: datetime) -> int:
        """Store the counts and return how many messages were only counted."""
        # All writers use one order, so that two of them cannot wait for each other.
        rows = [
            {
                "source": sender,
                "kept_bytes": added.kept_bytes,
                "kept_rows": added.kept_rows,
                "unkept": added.unkept,
                "unkept_at": now if added.unkept else None,
            }
            for sender, added in sorted(self._added.items())
        ]
        if rows:
            statement = insert(self._connection, quarantine_source)
            stored = quarantine_source.c
            new = statement.excluded
            sums: dict[str, Any] = {name: stored[name] + new[name] for name in ("kept_bytes", "kept_rows", "unkept")}
            sums["unkept_at"] = func.coalesce(new.unkept_at, stored.unkept_at)
            self._connection.execute(statement.on_conflict_do_update(index_elements=["source"], set_=sums), rows)
        return sum(added.unkept for added in self._added.values())


def prune_quarantine(connection: Connection, before_at: datetime, rows: int) -> int:
    """Delete messages that were received before an instant and release their space.

    Args:
        before_at: Instant.
        rows: Largest number of messages to delete.

    Returns:
        How many messages were deleted.
    """
    r = rejected_message.c
    q = quarantine_source.c
    count = _delete_rejected(connection, r.received_at < before_at, rows)
    if not count:
        # Senders choose their names, so a sender without messages is deleted too.
        stale = (q.kept_rows == 0) & (q.unkept_at.is_(None) | (q.unkept_at < before_at))
        connection.execute(delete(quarantine_source).where(stale))
    return count


def _delete_rejected(connection: Connection, condition: ColumnElement[bool], most: int | None) -> int:
    """Delete messages, release their space and return how many were deleted."""
    r = rejected_message.c
    q = quarantine_source.c
    doomed = connection.execute(
        select(r.id, r.topic, r.client, func.length(r.payload).label("size")).where(condition).limit(most)
    ).all()
    freed: dict[str, _Usage] = defaultdict(_Usage)
    stored_senders = set(connection.execute(select(q.source)).scalars())
    for row in doomed:
        sender = find_sender(row.topic, row.client)
        usage = freed[sender if sender in stored_senders else OTHERS]
        usage.kept_bytes += ROW_BYTES + row.size
        usage.kept_rows += 1
    for sender, usage in freed.items():
        values = {
            "kept_bytes": case((q.kept_bytes > usage.kept_bytes, q.kept_bytes - usage.kept_bytes), else_=0),
            "kept_rows": case((q.kept_rows > usage.kept_rows, q.kept_rows - usage.kept_rows), else_=0),
        }
        connection.execute(update(quarantine_source).where(q.source == sender).values(values))
    for chunk in in_chunks(doomed, _FEW):
        connection.execute(delete(rejected_message).where(r.id.in_([row.id for row in chunk])))
    return len(doomed)


@dataclass(frozen=True, slots=True)
class RejectedMessage:
    """A message, or a part of one, that is unreadable, over a limit, or refused by the database or the broker.

    Attributes:
        code: Stable code of the reason.
        reason: The reason for people.
        client: How it was received: session (`live`, `backfill`), `file:` and a name, or `login:` and a name.
        times: How often it was received.
        retained: Whether the broker had kept the message, so that the time of its publication is unknown.
        is_cut: Whether only the beginning of the payload is stored.
        full_size: True size and digest of a payload of which only the beginning is stored; None if all of it is stored.
    """

    received_at: datetime
    topic: str
    payload: bytes
    code: str
    reason: str
    client: str
    id: int | None = None
    times: int = 1
    retained: bool = False
    is_cut: bool = False
    full_size: PayloadSize | None = None

    @property
    def payload_bytes(self) -> int:
        """True size of the payload."""
        return len(self.payload) if self.full_size is None else self.full_size.payload_bytes

    @property
    def digest(self) -> str:
        """SHA-256 of topic and payload. A message with a stored digest is counted and not stored again."""
        if self.full_size is not None:
            return self.full_size.digest
        digest = hashlib.sha256(self.topic.encode("utf-8", "replace") + b"\0")
        digest.update(self.payload)
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class SequenceMark:
    """Sequence number of a message.

    Attributes:
        source: Publisher that counts.
        boot_id: Number of its start. The sequence numbers of each start are independent.
        seq: Sequence number.
        at: Time of the newest reading of the message.
    """

    site: str
    station: str
    source: str
    boot_id: int
    seq: int
    at: datetime


@dataclass(frozen=True, slots=True)
class SequenceGap:
    """Missing messages of one start of a publisher.

    Attributes:
        from_seq: First missing number.
        to_seq: Last missing number; None if it is unknown.
        from_at: Time of the newest reading before the gap.
        to_at: Time of the newest reading in the first message after the gap.
    """

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
    """Store messages in the quarantine. A message that is stored already is counted again.

    Args:
        messages: Rejected messages.
        quota: What the quarantine may store. Messages beyond it are only counted.

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
    _count_again(connection, first, times)
    space = QuarantineSpace(connection, quota or Quota())
    new_messages = {
        digest: message
        for digest, message in first.items()
        if space.take(find_sender(_clean(message.topic), message.client), len(_cut(message.payload)), times[digest])
    }
    if new_messages:
        connection.execute(
            rejected_message.insert(),
            [
                fill_row(rejected_message, message, digest=digest, times=times[digest])
                | {
                    "topic": _clean(message.topic),
                    "payload": _cut(message.payload),
                    "reason": _clean(message.reason),
                }
                for digest, message in new_messages.items()
            ],
        )
    return space.close(max(message.received_at for message in messages))


def _count_again(connection: Connection, first: dict[str, RejectedMessage], times: Mapping[str, int]) -> None:
    """Count messages that are stored already and remove them from `first`, which has messages by digest."""
    r = rejected_message.c
    count = update(rejected_message).where(r.id == bindparam("of")).values(times=r.times + bindparam("more"))
    for chunk in in_chunks(list(first), _CHUNK):
        query = select(r.id, r.digest, r.retained).where(r.digest.in_(chunk), r.replayed_at.is_(None))
        stored = connection.execute(query).all()
        if stored:
            connection.execute(count, [{"of": row.id, "more": times[row.digest]} for row in stored])
        for row in stored:
            message = first.pop(row.digest, None)
            if row.retained and message is not None and not message.retained:
                # The broker had kept the stored message. The same message has now arrived directly, so that the time of
                # its publication is known.
                values = {"retained": False, "received_at": message.received_at, "client": message.client}
                connection.execute(update(rejected_message).where(r.id == row.id).values(values))


def _cut(payload: bytes) -> bytes:
    return payload if len(payload) <= PAYLOAD_LIMIT else payload[:BEGINNING_BYTES]


def _clean(text: str) -> str:
    """Return a text without NUL and lone surrogates, which PostgreSQL cannot store. A clean text is returned as is.

    A text that is a translatable message keeps its type then.
    """
    clean = text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
    return text if clean == text else clean


def load_rejected(connection: Connection, *, after_id: int = 0, limit: int = 1000) -> list[RejectedMessage]:
    """Return messages of the quarantine that were not read again yet, by ascending id."""
    r = rejected_message.c
    query = select(rejected_message).where(r.id > after_id, r.replayed_at.is_(None))
    return [
        row_to_record(RejectedMessage, row, payload=bytes(row.payload), is_cut=row.payload_bytes > len(row.payload))
        for row in connection.execute(query.order_by(r.id).limit(limit))
    ]


def mark_replayed(connection: Connection, rejected_id: int, result: str, now: datetime) -> None:
    """Store the result of reading a message of the quarantine again."""
    connection.execute(
        update(rejected_message)
        .where(rejected_message.c.id == rejected_id)
        .values(replayed_at=now, replay_result=_clean(result))
    )


def note_sequences(connection: Connection, marks: Sequence[SequenceMark], now: datetime) -> list[SequenceGap]:
    """Store the sequence numbers of a batch and return the gaps that opened. A late message closes or splits a gap.

    A counter of 16 or 32 bits continues at 0. Counting starts with the first message of a boot: what was sent before it
    is unknown and not missing. The number of boots and of open gaps of a station is limited.
    """
    by_boot: dict[_Boot, dict[int, SequenceMark]] = defaultdict(dict)
    for mark in marks:
        by_boot[mark.site, mark.source, mark.boot_id][mark.seq] = mark
    states = _load_states(connection, list(by_boot))
    opened: list[SequenceGap] = []
    ends: dict[_Boot, SequenceMark] = {}
    for boot, marks_by_seq in by_boot.items():
        state = states.get(boot)
        last_seq: int | None = None if state is None else state.last_seq
        last_at: datetime | None = None if state is None else state.last_at
        late: list[int] = []
        counter_size, ordered = _unwrap(marks_by_seq, last_seq)
        for seq, mark in ordered:
            if last_seq is not None and seq <= last_seq:
                late.append(mark.seq)
                continue
            if last_seq is not None and seq > last_seq + 1:
                for first, last in _wrap(last_seq + 1, seq - 1, counter_size):
                    opened.append(SequenceGap(boot[0], mark.station, *boot[1:], first, last, last_at, mark.at))
            last_seq = seq
            last_at = mark.at
            ends[boot] = mark
        if late:
            _fill_gaps(connection, *boot, sorted(late), now)
    opened = _limit_gaps(connection, opened)
    if opened:
        rows = [record_to_dict(gap) | {"detected_at": now} for gap in opened]
        for row in rows:
            del row["id"]
        connection.execute(sequence_gap.insert(), rows)
    if ends:
        _save_states(connection, list(ends.values()))
        _delete_old_boots(connection, {(mark.site, mark.station) for boot, mark in ends.items() if boot not in states})
    return opened


def _unwrap(marks: Mapping[int, SequenceMark], last_seq: int | None) -> tuple[int, list[tuple[int, SequenceMark]]]:
    """Return the size of a counter that restarts at 0 within these numbers, else 0, and the marks in their order.

    Numbers after the restart continue beyond the size of the counter.
    """
    numbers = [*marks, *([] if last_seq is None else [last_seq])]
    counter_size = next((size for size in _COUNTER_SIZES if size - _NEAR <= max(numbers) < size), 0)
    if counter_size and min(numbers) < _NEAR:
        if last_seq is not None and last_seq < _NEAR:
            # The counter restarted before this batch, so that numbers before the restart are late.
            marks = {seq - counter_size if seq >= counter_size - _NEAR else seq: mark for seq, mark in marks.items()}
        else:
            marks = {seq + counter_size if seq < _NEAR else seq: mark for seq, mark in marks.items()}
    return counter_size, sorted(marks.items())


def _wrap(first: int, last: int, counter_size: int) -> list[tuple[int, int]]:
    """Return a range of unwrapped numbers as ranges of numbers that the counter has."""
    if not counter_size or last < counter_size:
        return [(first, last)]
    parts = ((first, counter_size - 1), (max(first, counter_size), last))
    return [(start % counter_size, end % counter_size) for start, end in parts if start <= end]


def _load_states(connection: Connection, boots: Sequence[_Boot]) -> dict[_Boot, Any]:
    """Return the stored state of boots. One statement loads many: a sender may invent a boot for each message."""
    s = sequence_state.c
    states: dict[_Boot, Any] = {}
    for chunk in in_chunks(boots, _FEW):
        query = select(sequence_state).where(tuple_(s.site, s.source, s.boot_id).in_(chunk))
        for row in connection.execute(query):
            states[row.site, row.source, row.boot_id] = row
    return states


def _save_states(connection: Connection, marks: Sequence[SequenceMark]) -> None:
    # All writers use one order, so that two of them cannot wait for each other.
    ordered = sorted(marks, key=lambda mark: (mark.site, mark.source, mark.boot_id))
    rows = [fill_row(sequence_state, mark, last_seq=mark.seq, last_at=mark.at) for mark in ordered]
    save_rows(connection, sequence_state, rows)


def _delete_old_boots(connection: Connection, stations: Collection[tuple[str, str]]) -> None:
    """Delete the boots of stations beyond `MOST_BOOTS`, those with the oldest readings."""
    s = sequence_state.c
    for site, station in sorted(stations):
        of_station = (s.site == site) & (s.station == station)
        newest_first = select(s.source, s.boot_id).where(of_station).order_by(s.last_at.desc(), s.boot_id.desc())
        boots = [tuple(row) for row in connection.execute(newest_first.offset(MOST_BOOTS))]
        for chunk in in_chunks(boots, _FEW):
            connection.execute(delete(sequence_state).where(of_station, tuple_(s.source, s.boot_id).in_(chunk)))


def _limit_gaps(connection: Connection, gaps: Sequence[SequenceGap]) -> list[SequenceGap]:
    """Return the first of new gaps, so that no station has more than `MOST_GAPS` open gaps."""
    g = sequence_gap.c
    room: dict[tuple[str, str], int] = {}
    accepted: list[SequenceGap] = []
    for gap in gaps:
        place = (gap.site, gap.station)
        if place not in room:
            query = select(func.count()).where(g.site == gap.site, g.station == gap.station, g.filled_at.is_(None))
            room[place] = MOST_GAPS - connection.execute(query).scalar_one()
        room[place] -= 1
        if room[place] >= 0:
            accepted.append(gap)
    return accepted


def _fill_gaps(connection: Connection, site: str, source: str, boot_id: int, late: list[int], now: datetime) -> None:
    """Close or split the open gaps that contain late numbers, which are in ascending order."""
    g = sequence_gap.c
    of_boot = (g.site == site, g.source == source, g.boot_id == boot_id, g.filled_at.is_(None))
    overlapping = (g.from_seq <= late[-1], g.to_seq >= late[0])
    for gap in connection.execute(select(sequence_gap).where(*of_boot, *overlapping)).all():
        inside = [seq for seq in late if gap.from_seq <= seq <= gap.to_seq]
        if not inside:
            continue
        bounds = [gap.from_seq - 1, *inside, gap.to_seq + 1]
        parts = [(before + 1, after - 1) for before, after in pairwise(bounds) if after - before > 1]
        if not parts:
            connection.execute(update(sequence_gap).where(g.id == gap.id).values(filled_at=now))
            continue
        (from_seq, to_seq), *others = parts
        connection.execute(update(sequence_gap).where(g.id == gap.id).values(from_seq=from_seq, to_seq=to_seq))
        if others:
            row = dict(gap._mapping)  # noqa: SLF001
            del row["id"]
            connection.execute(
                sequence_gap.insert(), [{**row, "from_seq": first, "to_seq": last} for first, last in others]
            )


def load_open_gaps(connection: Connection, *, not_requested_since: datetime | None = None) -> list[SequenceGap]:
    """Return open gaps; with `not_requested_since` only those that were not requested since then."""
    g = sequence_gap.c
    query = select(sequence_gap).where(g.filled_at.is_(None))
    if not_requested_since is not None:
        query = query.where(g.requested_at.is_(None) | (g.requested_at < not_requested_since))
    return load_records(connection, SequenceGap, query.order_by(g.id).limit(1000))


def load_sequence_ends(connection: Connection) -> list[SequenceMark]:
    """Return the last sequence number of each source, of its boot with the highest id.

    If the broker lost its queue, the messages after these numbers are requested.
    """
    s = sequence_state.c
    query = select(sequence_state, s.last_seq.label("seq"), s.last_at.label("at"))
    marks = load_records(connection, SequenceMark, query.order_by(s.site, s.source, s.boot_id))
    newest_boots = {(mark.site, mark.source): mark for mark in marks}
    return list(newest_boots.values())


def mark_requested(connection: Connection, gap_ids: Sequence[int], now: datetime) -> None:
    """Store that these gaps were requested from their publishers."""
    if gap_ids:
        connection.execute(update(sequence_gap).where(sequence_gap.c.id.in_(list(gap_ids))).values(requested_at=now))


def delete_superseded_rows(connection: Connection, topic: str, client: str) -> int:
    """Delete rejected rows of an earlier version of a file, before the file is read again as a whole."""
    r = rejected_message.c
    return _delete_rejected(connection, (r.topic == topic) & (r.client == client) & r.replayed_at.is_(None), None)


def _sweep_quarantine(sweep: Sweep, before_at: datetime) -> None:
    def prune(connection: Connection) -> Deleted:
        return Deleted(prune_quarantine(connection, before_at, sweep.rows_at_once))

    while sweep.step("rejected_message", before_at, prune):
        pass


RETENTION_RULES: Final = (RetentionRule("quarantine", "rejected messages", _sweep_quarantine),)
