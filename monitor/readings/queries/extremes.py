"""Long ranges for a picture: the lowest, highest and sum of each short stretch, worked out by the database.

A stretch is narrower than two points of a screen, so a line through its extremes looks as one through all readings.
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
_UNNESTED: Final = 'unnest(CAST(:begins AS text[]) COLLATE "C", CAST(:ends AS text[]) COLLATE "C")'
_HARMLESS: Final = ", ".join(f"'{flag}'" for flag in sorted(HARMLESS))
_STRETCHES: Final = "SELECT key AS k, value AS a, lead(value) OVER (ORDER BY key) AS b FROM json_each(:edges)"


@dataclass(frozen=True, slots=True)
class ReadingSpan:
    """Figures of the usable readings between two edges; first and last epoch in ISO 8601."""

    number: int
    first_at: str
    last_at: str
    low: float
    high: float
    total: float
    count: int


def count_up_to(c: Connection, series_ids: Sequence[int], from_at: datetime, to_at: datetime, most: int) -> int:
    """Return how many revisions of some series a range contains, at most `most`."""
    o = observation.c
    some = select(o.revision).where(o.series_id.in_(series_ids), o.observed_at > from_at, o.observed_at <= to_at)
    return int(c.execute(select(func.count()).select_from(some.limit(most).subquery())).scalar_one())


def find_nth_newest(c: Connection, series_id: int, to_at: datetime, n: int) -> datetime | None:
    """Return the epoch of the n-th newest revision up to an instant; None if there are fewer."""
    o = observation.c
    query = select(o.observed_at).where(o.series_id == series_id, o.observed_at <= to_at)
    found: datetime | None = c.execute(query.order_by(o.observed_at.desc()).offset(n - 1).limit(1)).scalar()
    return found


def list_flagged(c: Connection, series_id: int, from_at: datetime, to_at: datetime, most: int) -> list[datetime]:
    """Return the newest epochs of a range with a flag, set at arrival or later, oldest first."""
    o, f = observation.c, observation_flag.c
    found: set[datetime] = set()
    for of, which in ((o, o.flags != ""), (f, f.flag != "")):
        at = of.observed_at
        query = select(at).where(of.series_id == series_id, which, at > from_at, at <= to_at)
        found.update(c.execute(query.order_by(at.desc()).limit(most)).scalars())
    return sorted(found)[-most:]


def load_stretches(
    c: Connection, parts: Sequence[tuple[int, float]], edges: Sequence[datetime], known_at: datetime
) -> list[ReadingSpan]:
    """What lies between neighbouring edges, (first, second], (second, third] and so on; empty stretches are left out.

    The value is the weighted sum of some series at the epochs that all of them have, as measured (offsets are not
    subtracted: put an edge at each). Of each epoch the revision that speaks counts, if no flag is against it.

    `parts`: series and their weights; `edges`: rising instants; `known_at`: what came later is unknown.
    """
    if len(edges) < 2:
        return []
    spelled = [format_iso(edge) for edge in edges]
    facts: dict[str, Any] = {"known": format_iso(known_at)}
    within, sound, odd = [], [], []
    for k, (series_id, weight) in enumerate(parts):
        o = f"o{k}"
        facts |= {f"series{k}": series_id, f"weight{k}": weight}
        inside = f"{{0}}.series_id = :series{k} AND {{0}}.observed_at > s.a AND {{0}}.observed_at <= s.b"
        within.append(f"{o}.series_id = :series{k} AND {o}.observed_at = o0.observed_at" if k else inside.format(o))
        sound.append(_sound_sql(c, o, [series_id]))
        odd.append(
            f"EXISTS (SELECT 1 FROM observation n WHERE {inside.format('n')} AND (n.revision > 0 "  # noqa: S608
            f"OR n.flags NOT IN ('', {_HARMLESS}) OR n.received_at > :known)) "
            f"OR EXISTS (SELECT 1 FROM observation_flag n WHERE {inside.format('n')})"
        )
    value = " + ".join(f":weight{k} * o{k}.value_raw" for k in range(len(parts)))
    figures = f"min(o0.observed_at), max(o0.observed_at), min({value}), max({value}), sum({value}), count(*)"
    if c.dialect.name == "postgresql":
        facts |= {"begins": spelled[:-1], "ends": spelled[1:]}
        figures, source = f"json_build_array(s.k - 1, {figures})", f"{_UNNESTED} WITH ORDINALITY AS s(a, b, k)"
    else:
        facts["edges"] = json.dumps(spelled)
        figures, source = f"json_array(s.k, {figures})", f"({_STRETCHES}) s"
    # a sum of its own for each stretch, along the index: grouped, all readings would be sorted by their stretch; and
    # most stretches hold nothing that a look at each reading could find
    named = " CROSS JOIN ".join(f"observation o{k}" for k in range(len(parts)))
    plain = f"SELECT {figures} FROM {named} WHERE {' AND '.join(within)}"  # noqa: S608
    exact = f"{plain} AND {' AND '.join(sound)}"
    sql = f"SELECT CASE WHEN {' OR '.join(odd)} THEN ({exact}) ELSE ({plain}) END FROM {source}"  # noqa: S608
    rows = [json.loads(found) if isinstance(found, str) else found for found in c.execute(text(sql), facts).scalars()]
    return [ReadingSpan(*row) for row in sorted(rows) if row[-1]]


def _sound_sql(c: Connection, o: str, series_ids: Sequence[int], *, revised: bool = True) -> str:
    """Return the SQL condition that a row counts at the instant `:known` and has no flag against it.

    `revised`: whether an epoch may have several revisions at all.
    """
    clear = f"{o}.received_at <= :known AND {_clear_sql(c, o, series_ids)}"
    if not revised:
        return clear
    mine, other = _RANK.format(o), _RANK.format("rival")
    speaks_before = (
        f"SELECT 1 FROM observation rival WHERE rival.series_id = {o}.series_id "  # noqa: S608
        f"AND rival.observed_at = {o}.observed_at AND rival.revision <> {o}.revision AND rival.received_at <= :known "
        f"AND ({other} > {mine} OR ({other} = {mine} AND rival.revision > {o}.revision)) "
        f"AND NOT {unsigned_sql('rival')}"
    )
    return f"{clear} AND NOT EXISTS ({speaks_before})"


def _clear_sql(c: Connection, o: str, series_ids: Sequence[int]) -> str:
    """Return the SQL condition that a row has no flag against it at the instant `:known`.

    Of each flag the last change counts, as in `change_flags`: set at arrival, added (`flag`) or withdrawn (`-flag`).
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
    against = f"SELECT 1 FROM ({arrival}) a WHERE a.flag NOT IN ({_HARMLESS})"  # noqa: S608
    if has_later:
        against += f" AND NOT EXISTS (SELECT 1 {source.format('w')} AND w.flag = '-' || a.flag)"
    clear = f"({o}.flags = '' OR NOT EXISTS ({against}))"
    if has_later:
        withdrawn = (
            f"SELECT 1 {source.format('w')} AND w.flag = '-' || f.flag "
            "AND (w.known_from > f.known_from OR (w.known_from = f.known_from AND w.id > f.id))"
        )
        clear += (
            f" AND NOT EXISTS (SELECT 1 {source.format('f')} AND substr(f.flag, 1, 1) <> '-' "
            f"AND f.flag NOT IN ({_HARMLESS}) AND NOT EXISTS ({withdrawn}))"
        )
    return clear


def load_sound(
    c: Connection, series_ids: Sequence[int], from_at: datetime, to_at: datetime, known_at: datetime
) -> dict[int, list[tuple[str, float]]]:
    """Return the usable readings of a range by series: epoch in ISO 8601 and value without offsets subtracted."""
    o = observation.c
    later = (o.series_id.in_(series_ids), o.observed_at > from_at, o.observed_at <= to_at, o.revision > 0)
    revised = c.execute(select(o.revision).where(*later).limit(1)).first() is not None
    sound = _sound_sql(c, "o", series_ids, revised=revised)
    sql = (
        f"SELECT o.series_id, o.observed_at, o.value_raw FROM observation o WHERE o.series_id IN :ids "  # noqa: S608
        f"AND o.observed_at > :first AND o.observed_at <= :last AND {sound} ORDER BY 1, 2"
    )
    facts: dict[str, Any] = {"ids": list(series_ids), "known": format_iso(known_at)}
    facts |= {"first": format_iso(from_at), "last": format_iso(to_at)}
    found: dict[int, list[tuple[str, float]]] = {}
    for series_id, at, value in c.execute(text(sql).bindparams(bindparam("ids", expanding=True)), facts).all():
        found.setdefault(series_id, []).append((at, value))
    return found


def load_firsts(
    c: Connection, series_ids: Sequence[int], edges: Sequence[datetime], known_at: datetime
) -> dict[int, list[tuple[str, float]]]:
    """Return the first usable reading of each stretch of many series: epoch in ISO 8601 and value, offsets included.

    It costs a seek each, whatever the length of the record; extremes between are not seen.
    """
    spelled = [format_iso(edge) for edge in edges]
    facts: dict[str, Any] = {"known": format_iso(known_at)}
    if c.dialect.name == "postgresql":
        facts |= {"ids": list(series_ids), "begins": spelled[:-1], "ends": spelled[1:]}
        source = f"(SELECT unnest(CAST(:ids AS bigint[])) AS id) i CROSS JOIN {_UNNESTED} AS s(a, b)"
    else:
        facts |= {"ids": json.dumps(list(series_ids)), "edges": json.dumps(spelled)}
        source = f"(SELECT value AS id FROM json_each(:ids)) i CROSS JOIN ({_STRETCHES}) s"  # noqa: S608
    first = (
        "SELECT n.observed_at FROM observation n WHERE n.series_id = i.id AND n.observed_at > s.a "  # noqa: S608
        f"AND n.observed_at <= s.b AND {_sound_sql(c, 'n', series_ids)} ORDER BY n.observed_at LIMIT 1"
    )
    speaking = (
        f"SELECT o.value_raw FROM observation o WHERE o.series_id = k.id AND o.observed_at = k.at "  # noqa: S608
        f"AND o.received_at <= :known AND NOT {unsigned_sql('o')} "
        f"ORDER BY {_RANK.format('o')} DESC, o.revision DESC LIMIT 1"
    )
    sql = (
        f"WITH k(id, at) AS (SELECT i.id, ({first}) FROM {source}) "  # noqa: S608
        f"SELECT k.id, k.at, ({speaking}) FROM k WHERE k.at IS NOT NULL ORDER BY 1, 2"
    )
    found: dict[int, list[tuple[str, float]]] = {}
    for series_id, at, value in c.execute(text(sql), facts):
        found.setdefault(series_id, []).append((at, value))
    return found


def list_offset_series(c: Connection, series_ids: Sequence[int]) -> set[int]:
    """Return which of some series have offsets."""
    query = select(offset_entry.c.series_id).where(offset_entry.c.series_id.in_(series_ids)).distinct()
    return set(c.execute(query).scalars())
