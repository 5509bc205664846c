"""Summarise readings in the database for charts of long ranges: the extremes and the sum of each short time span.

A span is narrower than two pixels of a screen, so that a line through its extremes looks like a line through all
readings.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, bindparam, func, select, text

from monitor.readings.queries.observations import unsigned_sql
from monitor.readings.records import HARMLESS
from monitor.readings.tables import observation, observation_flag, offset_entry
from monitor.text.instants import format_iso

_RANK: Final = "CASE {0}.solution WHEN 'rapid' THEN 0 WHEN 'corrected' THEN 2 ELSE 1 END"
# The spans as rows, in PostgreSQL.
_SPANS_POSTGRESQL: Final = 'unnest(CAST(:begins AS text[]) COLLATE "C", CAST(:ends AS text[]) COLLATE "C")'
_HARMLESS: Final = ", ".join(f"'{flag}'" for flag in sorted(HARMLESS))
# The spans as rows, in SQLite.
_SPANS_SQLITE: Final = "SELECT key AS k, value AS a, lead(value) OVER (ORDER BY key) AS b FROM json_each(:edges)"


@dataclass(frozen=True, slots=True)
class ReadingSpan:
    """Figures of the usable readings between two edges.

    Attributes:
        number: Index of the earlier edge.
        first_at: First epoch, in ISO 8601.
        last_at: Last epoch, in ISO 8601.
        low: Smallest value.
        high: Largest value.
        total: Sum of the values.
        count: Number of readings.
    """

    number: int
    first_at: str
    last_at: str
    low: float
    high: float
    total: float
    count: int


def count_revisions(c: Connection, series_ids: Sequence[int], from_at: datetime, to_at: datetime, limit: int) -> int:
    """Return how many revisions of some series a range contains. The count stops at `limit`."""
    o = observation.c
    revisions = select(o.revision).where(o.series_id.in_(series_ids), o.observed_at > from_at, o.observed_at <= to_at)
    return int(c.execute(select(func.count()).select_from(revisions.limit(limit).subquery())).scalar_one())


def find_nth_newest(c: Connection, series_id: int, to_at: datetime, n: int) -> datetime | None:
    """Return the epoch of the n-th newest revision up to an instant; None if there are fewer."""
    o = observation.c
    query = select(o.observed_at).where(o.series_id == series_id, o.observed_at <= to_at)
    epoch: datetime | None = c.execute(query.order_by(o.observed_at.desc()).offset(n - 1).limit(1)).scalar()
    return epoch


def list_flagged_epochs(
    c: Connection, series_id: int, from_at: datetime, to_at: datetime, limit: int
) -> list[datetime]:
    """Return the newest epochs of a range with a flag that was set at arrival or later, oldest first.

    Args:
        limit: Largest number of epochs.
    """
    o, f = observation.c, observation_flag.c
    epochs: set[datetime] = set()
    for columns, is_flagged in ((o, o.flags != ""), (f, f.flag != "")):
        at = columns.observed_at
        query = select(at).where(columns.series_id == series_id, is_flagged, at > from_at, at <= to_at)
        epochs.update(c.execute(query.order_by(at.desc()).limit(limit)).scalars())
    return sorted(epochs)[-limit:]


def load_spans(
    c: Connection, parts: Sequence[tuple[int, float]], edges: Sequence[datetime], known_at: datetime
) -> list[ReadingSpan]:
    """Load the figures of the readings between neighbouring edges. Spans without a usable reading are left out.

    The first span is (first edge, second edge], and so on. A value is the weighted sum of the series at an epoch that
    all of them have. Offsets are not subtracted, so the caller puts an edge at each offset. Of each epoch the revision
    that counts is used, unless it has a harmful flag.

    Args:
        parts: Ids of series, each with its weight.
        edges: Instants in rising order.
        known_at: Readings and flags that arrived later are ignored.
    """
    if len(edges) < 2:
        return []
    spelled = [format_iso(edge) for edge in edges]
    facts: dict[str, Any] = {"known": format_iso(known_at)}
    # SQL conditions for each series: a reading is within the span, a reading is usable, the span has special readings.
    is_within: list[str] = []
    is_usable: list[str] = []
    has_special: list[str] = []
    for k, (series_id, weight) in enumerate(parts):
        o = f"o{k}"
        facts |= {f"series{k}": series_id, f"weight{k}": weight}
        inside = f"{{0}}.series_id = :series{k} AND {{0}}.observed_at > s.a AND {{0}}.observed_at <= s.b"
        is_within.append(f"{o}.series_id = :series{k} AND {o}.observed_at = o0.observed_at" if k else inside.format(o))
        is_usable.append(_make_usable_sql(c, o, [series_id]))
        has_special.append(
            f"EXISTS (SELECT 1 FROM observation n WHERE {inside.format('n')} AND (n.revision > 0 "  # noqa: S608
            f"OR n.flags NOT IN ('', {_HARMLESS}) OR n.received_at > :known)) "
            f"OR EXISTS (SELECT 1 FROM observation_flag n WHERE {inside.format('n')})"
        )
    value = " + ".join(f":weight{k} * o{k}.value_raw" for k in range(len(parts)))
    figures = f"min(o0.observed_at), max(o0.observed_at), min({value}), max({value}), sum({value}), count(*)"
    if c.dialect.name == "postgresql":
        facts |= {"begins": spelled[:-1], "ends": spelled[1:]}
        figures, source = f"json_build_array(s.k - 1, {figures})", f"{_SPANS_POSTGRESQL} WITH ORDINALITY AS s(a, b, k)"
    else:
        facts["edges"] = json.dumps(spelled)
        figures, source = f"json_array(s.k, {figures})", f"({_SPANS_SQLITE}) s"
    # Each span has a sum of its own, which follows the index. GROUP BY would sort all readings by their span. Most
    # spans have no revision, flag or late reading, so that they do not need the conditions on single readings.
    tables = " CROSS JOIN ".join(f"observation o{k}" for k in range(len(parts)))
    of_all = f"SELECT {figures} FROM {tables} WHERE {' AND '.join(is_within)}"  # noqa: S608
    of_usable = f"{of_all} AND {' AND '.join(is_usable)}"
    sql = f"SELECT CASE WHEN {' OR '.join(has_special)} THEN ({of_usable}) ELSE ({of_all}) END FROM {source}"  # noqa: S608
    values = c.execute(text(sql), facts).scalars()
    # SQLite returns JSON as text.
    rows = [json.loads(value) if isinstance(value, str) else value for value in values]
    return [ReadingSpan(*row) for row in sorted(rows) if row[-1]]


def _make_usable_sql(c: Connection, o: str, series_ids: Sequence[int], *, has_revisions: bool = True) -> str:
    """Return the SQL condition that a row counts at the instant `:known` and has no harmful flag.

    Args:
        o: Alias of the table `observation` in the statement.
        has_revisions: Whether an epoch may have several revisions.
    """
    unflagged = f"{o}.received_at <= :known AND {_make_unflagged_sql(c, o, series_ids)}"
    if not has_revisions:
        return unflagged
    rank, other_rank = _RANK.format(o), _RANK.format("other")
    revision_that_replaces = (
        f"SELECT 1 FROM observation other WHERE other.series_id = {o}.series_id "  # noqa: S608
        f"AND other.observed_at = {o}.observed_at AND other.revision <> {o}.revision AND other.received_at <= :known "
        f"AND ({other_rank} > {rank} OR ({other_rank} = {rank} AND other.revision > {o}.revision)) "
        f"AND NOT {unsigned_sql('other')}"
    )
    return f"{unflagged} AND NOT EXISTS ({revision_that_replaces})"


def _make_unflagged_sql(c: Connection, o: str, series_ids: Sequence[int]) -> str:
    """Return the SQL condition that a row has no harmful flag at the instant `:known`.

    The last change of each flag counts, as in `change_flags`: set at arrival, added (`flag`) or withdrawn (`-flag`).
    """
    query = select(observation_flag.c.id).where(observation_flag.c.series_id.in_(series_ids)).limit(1)
    has_later = c.execute(query).first() is not None
    source = (
        f"FROM observation_flag {{0}} WHERE {{0}}.series_id = {o}.series_id AND {{0}}.observed_at = {o}.observed_at "
        f"AND {{0}}.revision = {o}.revision AND {{0}}.known_from <= :known"
    )
    if c.dialect.name == "postgresql":
        arrival = f"SELECT unnest(string_to_array({o}.flags, ',')) AS flag"
    else:
        arrival = f"SELECT value AS flag FROM json_each('[\"' || replace({o}.flags, ',', '\",\"') || '\"]')"  # noqa: S608
    harmful_at_arrival = f"SELECT 1 FROM ({arrival}) a WHERE a.flag NOT IN ({_HARMLESS})"  # noqa: S608
    if has_later:
        harmful_at_arrival += f" AND NOT EXISTS (SELECT 1 {source.format('w')} AND w.flag = '-' || a.flag)"
    condition = f"({o}.flags = '' OR NOT EXISTS ({harmful_at_arrival}))"
    if has_later:
        withdrawn = (
            f"SELECT 1 {source.format('w')} AND w.flag = '-' || f.flag "
            "AND (w.known_from > f.known_from OR (w.known_from = f.known_from AND w.id > f.id))"
        )
        condition += (
            f" AND NOT EXISTS (SELECT 1 {source.format('f')} AND substr(f.flag, 1, 1) <> '-' "
            f"AND f.flag NOT IN ({_HARMLESS}) AND NOT EXISTS ({withdrawn}))"
        )
    return condition


def load_usable(
    c: Connection, series_ids: Sequence[int], from_at: datetime, to_at: datetime, known_at: datetime
) -> dict[int, list[tuple[str, float]]]:
    """Return the usable readings of a range by series: epoch in ISO 8601 and value without offsets subtracted."""
    o = observation.c
    revision = select(o.revision).where(
        o.series_id.in_(series_ids), o.observed_at > from_at, o.observed_at <= to_at, o.revision > 0
    )
    has_revisions = c.execute(revision.limit(1)).first() is not None
    usable = _make_usable_sql(c, "o", series_ids, has_revisions=has_revisions)
    sql = (
        f"SELECT o.series_id, o.observed_at, o.value_raw FROM observation o WHERE o.series_id IN :ids "  # noqa: S608
        f"AND o.observed_at > :first AND o.observed_at <= :last AND {usable} ORDER BY 1, 2"
    )
    facts: dict[str, Any] = {"ids": list(series_ids), "known": format_iso(known_at)}
    facts |= {"first": format_iso(from_at), "last": format_iso(to_at)}
    readings: dict[int, list[tuple[str, float]]] = {}
    for series_id, at, value in c.execute(text(sql).bindparams(bindparam("ids", expanding=True)), facts).all():
        readings.setdefault(series_id, []).append((at, value))
    return readings


def load_first_usable(
    c: Connection, series_ids: Sequence[int], edges: Sequence[datetime], known_at: datetime
) -> dict[int, list[tuple[str, float]]]:
    """Return the first usable reading of each span of many series: epoch in ISO 8601, and value.

    Offsets are not subtracted.

    Each span takes one seek in the index, whatever the length of the record. Extremes within a span are not found.
    """
    spelled = [format_iso(edge) for edge in edges]
    facts: dict[str, Any] = {"known": format_iso(known_at)}
    if c.dialect.name == "postgresql":
        facts |= {"ids": list(series_ids), "begins": spelled[:-1], "ends": spelled[1:]}
        source = f"(SELECT unnest(CAST(:ids AS bigint[])) AS id) i CROSS JOIN {_SPANS_POSTGRESQL} AS s(a, b)"
    else:
        facts |= {"ids": json.dumps(list(series_ids)), "edges": json.dumps(spelled)}
        source = f"(SELECT value AS id FROM json_each(:ids)) i CROSS JOIN ({_SPANS_SQLITE}) s"  # noqa: S608
    first = (
        "SELECT n.observed_at FROM observation n WHERE n.series_id = i.id AND n.observed_at > s.a "  # noqa: S608
        f"AND n.observed_at <= s.b AND {_make_usable_sql(c, 'n', series_ids)} ORDER BY n.observed_at LIMIT 1"
    )
    counting_value = (
        f"SELECT o.value_raw FROM observation o WHERE o.series_id = k.id AND o.observed_at = k.at "  # noqa: S608
        f"AND o.received_at <= :known AND NOT {unsigned_sql('o')} "
        f"ORDER BY {_RANK.format('o')} DESC, o.revision DESC LIMIT 1"
    )
    sql = (
        f"WITH k(id, at) AS (SELECT i.id, ({first}) FROM {source}) "  # noqa: S608
        f"SELECT k.id, k.at, ({counting_value}) FROM k WHERE k.at IS NOT NULL ORDER BY 1, 2"
    )
    readings: dict[int, list[tuple[str, float]]] = {}
    for series_id, at, value in c.execute(text(sql), facts):
        readings.setdefault(series_id, []).append((at, value))
    return readings


def list_offset_series(c: Connection, series_ids: Sequence[int]) -> set[int]:
    """Return which of some series have offsets."""
    query = select(offset_entry.c.series_id).where(offset_entry.c.series_id.in_(series_ids)).distinct()
    return set(c.execute(query).scalars())
