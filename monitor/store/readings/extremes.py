"""Long ranges for a picture: the lowest, highest and sum of each short stretch, worked out by the database.

A stretch is narrower than two points of a screen, so a line through its extremes looks as one through all readings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

from sqlalchemy import Connection, func, select

from monitor.domain.instants import spell
from monitor.store.schema.tables import observation, observation_flag, offset_entry

_RANK: Final = "CASE {0}.solution WHEN 'rapid' THEN 0 WHEN 'corrected' THEN 2 ELSE 1 END"


@dataclass(frozen=True, slots=True)
class Stretch:
    """Readings between two edges, flagged ones left out: first and last epoch as text, extremes, sum, how many."""

    number: int
    first_at: str
    last_at: str
    low: float
    high: float
    total: float
    count: int


def count_up_to(c: Connection, series_ids: Sequence[int], from_at: datetime, to_at: datetime, most: int) -> int:
    """How many revisions of some series a range holds, or `most` where it is more: the question ends there."""
    o = observation.c
    some = select(o.revision).where(o.series_id.in_(series_ids), o.observed_at > from_at, o.observed_at <= to_at)
    return int(c.execute(select(func.count()).select_from(some.limit(most).subquery())).scalar_one())


def find_nth_newest(c: Connection, series_id: int, to_at: datetime, n: int) -> datetime | None:
    """The epoch of the n-th newest revision up to an instant; None where there are fewer."""
    o = observation.c
    query = select(o.observed_at).where(o.series_id == series_id, o.observed_at <= to_at)
    found: datetime | None = c.execute(query.order_by(o.observed_at.desc()).offset(n - 1).limit(1)).scalar()
    return found


def list_flagged(c: Connection, series_id: int, from_at: datetime, to_at: datetime, most: int) -> list[datetime]:
    """The newest epochs of a range with a flag, set at arrival or later, oldest first."""
    o, f = observation.c, observation_flag.c
    found: set[datetime] = set()
    for column, which in (
        (o.observed_at, (o.series_id == series_id, o.flags != "")),
        (f.observed_at, (f.series_id == series_id,)),
    ):
        query = select(column).where(*which, column > from_at, column <= to_at).order_by(column.desc()).limit(most)
        found.update(c.execute(query).scalars())
    return sorted(found)[-most:]


def load_stretches(
    c: Connection, parts: Sequence[tuple[int, float]], edges: Sequence[datetime], known_at: datetime
) -> list[Stretch]:
    """What lies between neighbouring edges, (first, second], (second, third] and so on; empty stretches are left out.

    The value is the weighted sum of some series at the epochs that all of them have, as measured (offsets are not
    subtracted: put an edge at each). Of each epoch the revision that speaks counts; flagged ones do not.

    Args:
        c: the database.
        parts: series and their weights.
        edges: rising instants.
        known_at: what came later is unknown.
    """
    if len(edges) < 2:
        return []
    is_postgresql = c.dialect.name == "postgresql"
    mark, collate = ("%s", ' COLLATE "C"') if is_postgresql else ("?", "")
    row = "(%s::int, %s::text, %s::text)" if is_postgresql else "(?,?,?)"
    value = " + ".join(f"{mark} * o{k}.value_raw" for k in range(len(parts)))
    known, joined, values = spell(known_at), list[str](), list[Any]()
    for k, (series_id, _) in enumerate(parts):
        o = f"o{k}"
        at = f"o0.observed_at > s.a{collate} AND o0.observed_at <= s.b{collate}"
        at = f"{o}.observed_at = o0.observed_at" if k else at
        sound, knowns = _say_sound(c, o, mark, [series_id])
        joined.append(f"JOIN observation {o} ON {o}.series_id = {mark} AND {at} AND {sound}")
        values += [series_id, *[known] * knowns]
    pairs = [(k, a, b) for k, (a, b) in enumerate(pairwise(spell(edge) for edge in edges))]
    sql = (
        f"WITH s(k, a, b) AS (VALUES {','.join([row] * len(pairs))}), "  # noqa: S608
        f"v(k, at, value) AS (SELECT s.k, o0.observed_at, {value} FROM s {' '.join(joined)}) "
        "SELECT k, min(at), max(at), min(value), max(value), sum(value), count(*) FROM v GROUP BY k ORDER BY k"
    )
    asked = (*(x for pair in pairs for x in pair), *(weight for _, weight in parts), *values)
    return [Stretch(*found) for found in c.exec_driver_sql(sql, asked)]


def _say_sound(c: Connection, o: str, mark: str, series_ids: Sequence[int]) -> tuple[str, int]:
    """The condition that a row speaks and has no flag, and how often it asks for the instant of knowledge."""
    mine, other = _RANK.format(o), _RANK.format("n")
    of_this = f"{{0}}.series_id = {o}.series_id AND {{0}}.observed_at = {o}.observed_at"
    speaks_before = (
        f"SELECT 1 FROM observation n WHERE {of_this.format('n')} AND n.revision <> {o}.revision "  # noqa: S608
        f"AND n.received_at <= {mark} AND ({other} > {mine} OR ({other} = {mine} AND n.revision > {o}.revision))"
    )
    parts = [f"{o}.flags = '' AND {o}.received_at <= {mark} AND NOT EXISTS ({speaks_before})"]
    query = select(observation_flag.c.id).where(observation_flag.c.series_id.in_(series_ids)).limit(1)
    if c.execute(query).first() is not None:
        flagged_later = f"SELECT 1 FROM observation_flag f WHERE {of_this.format('f')} AND f.known_from <= {mark}"  # noqa: S608
        parts.append(f"NOT EXISTS ({flagged_later})")
    return " AND ".join(parts), len(parts) + 1


def load_sound(
    c: Connection, series_ids: Sequence[int], from_at: datetime, to_at: datetime, known_at: datetime
) -> dict[int, list[tuple[str, float]]]:
    """Unflagged readings of a range by series, as measured: epoch as text and value."""
    mark = "%s" if c.dialect.name == "postgresql" else "?"
    sound, knowns = _say_sound(c, "o", mark, series_ids)
    sql = (
        f"SELECT o.series_id, o.observed_at, o.value_raw FROM observation o WHERE o.series_id IN "  # noqa: S608
        f"({','.join([mark] * len(series_ids))}) AND o.observed_at > {mark} AND o.observed_at <= {mark} AND {sound} "
        "ORDER BY 1, 2"
    )
    asked = (*series_ids, spell(from_at), spell(to_at), *[spell(known_at)] * knowns)
    found: dict[int, list[tuple[str, float]]] = {}
    for series_id, at, value in c.exec_driver_sql(sql, asked):
        found.setdefault(series_id, []).append((at, value))
    return found


def load_firsts(
    c: Connection, series_ids: Sequence[int], edges: Sequence[datetime], known_at: datetime
) -> dict[int, list[tuple[str, float]]]:
    """The first sound reading of each stretch of many series, as measured: epoch as text and value.

    It costs a seek each, whatever the length of the record; extremes between are not seen.
    """
    is_postgresql = c.dialect.name == "postgresql"
    mark, number, collate = ("%s", "(%s::bigint)", ' COLLATE "C"') if is_postgresql else ("?", "(?)", "")
    row = "(%s::text, %s::text)" if is_postgresql else "(?,?)"
    first = (
        f"SELECT n.observed_at FROM observation n WHERE n.series_id = i.id AND n.observed_at > s.a{collate} AND "  # noqa: S608
        f"n.observed_at <= s.b{collate} AND n.flags = '' AND n.received_at <= {mark} ORDER BY n.observed_at LIMIT 1"
    )
    known = spell(known_at)
    sql = (
        f"WITH i(id) AS (VALUES {','.join([number] * len(series_ids))}), "  # noqa: S608 - no value
        f"s(a, b) AS (VALUES {','.join([row] * (len(edges) - 1))}), "
        f"k(id, at) AS (SELECT i.id, ({first}) FROM i CROSS JOIN s) SELECT k.id, k.at, "
        f"(SELECT o.value_raw FROM observation o WHERE o.series_id = k.id AND o.observed_at = k.at AND "
        f"o.received_at <= {mark} ORDER BY {_RANK.format('o')} DESC, o.revision DESC LIMIT 1) "
        "FROM k WHERE k.at IS NOT NULL ORDER BY 1, 2"
    )
    pairs = [x for pair in pairwise(spell(edge) for edge in edges) for x in pair]
    found: dict[int, list[tuple[str, float]]] = {}
    for series_id, at, value in c.exec_driver_sql(sql, (*series_ids, *pairs, known, known)):
        found.setdefault(series_id, []).append((at, value))
    return found


def list_offset_series(c: Connection, series_ids: Sequence[int]) -> set[int]:
    """Which of some series have offsets at all."""
    query = select(offset_entry.c.series_id).where(offset_entry.c.series_id.in_(series_ids)).distinct()
    return set(c.execute(query).scalars())
