"""What people say of anomalies: confirmed or dismissed, with the cause; kept with who and when, the newest counts."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, String, or_, select, type_coerce

from detection.anomaly.records import STRONGER
from detection.anomaly.registry import CHECKS, compared_with
from monitor.api.database import Actor, add_audit, add_row
from monitor.api.errors import NotFoundError, RefusedError, SupersededError
from monitor.api.queries.people import require_person
from monitor.api.queries.readings import load_readings
from monitor.api.sites import ANOMALY_CAUSES, DISMISSED, VERDICTS, WITHDRAWN, Site
from monitor.api.tables import series as series_table
from monitor.api.text import Template, Term, convert_reason, format_iso, read_columns
from monitor.features.anomalies.queries.scores import CHECK, WrongUnit, find_newest_alert, list_wrong_units
from monitor.features.anomalies.tables import anomaly, anomaly_label

_NOBODY: Final = Template("label.nobody", "nobody says anything of it now; look again")()
_MEANWHILE: Final = Template("label.meanwhile", "{name} said meanwhile: {verdict}; look again")
SHORTEST_PAUSE: Final = timedelta(hours=6)
STUCK: Final = "flatline"  # the check whose finding lasts as long as the readings stay equal


@dataclass(frozen=True, slots=True)
class AnomalyRun:
    """Epochs of one series that detectors reported one after the other: one happening, labelled as one."""

    series_id: int  # the series
    station: str  # of it
    quantity: str  # of it
    from_at: datetime  # first epoch
    to_at: datetime  # last epoch
    kind: str  # what a check found it to be, else what the highest score said it was
    detectors: tuple[str, ...]  # those that reported it
    score: float  # the highest, in units of its threshold
    compared_with: tuple[str, ...] = ()  # what each of them compared its highest score with, in words, each once
    label: Any = field(default=None, compare=False)  # the newest word of a person, None = nobody said anything
    # number of the word that it goes beyond; none up to there speaks of it
    beyond: int = field(default=0, compare=False)
    newest: Mapping[str, datetime] = field(default_factory=dict, compare=False)  # epoch of each detector


def find_pauses(site: Site) -> Callable[[Any], timedelta]:
    """What says of a row of a series: epochs farther apart than this are two happenings.

    Twice its interval, six hours at least; twice the step of the detectors where they look at it more rarely. What is
    no more declared counts as the slowest of the site.
    """
    stations, step_s = {station.id: station for station in site.stations}, site.watched_step_s or 0.0
    slowest_s = max((spec.interval_s for station in site.stations for spec in station.series), default=0.0)

    def find(row: Any) -> timedelta:
        spec = stations[row.station].find_series(row.quantity) if row.station in stations else None
        interval_s = slowest_s if spec is None else spec.interval_s
        return max(SHORTEST_PAUSE, timedelta(seconds=2.0 * max(interval_s, step_s)))

    return find


def load_runs(
    c: Connection, site: Site, since: datetime, now: datetime, series_ids: Collection[int] | None = None
) -> list[AnomalyRun]:
    """Happenings of a time, oldest first, each with the newest label that touches it; of some series or all.

    One that began before the time is read from its begin on. So where it began, what it is called and who labelled it
    are the same from whatever day it is looked at. All that is said of a series while its unit is wrong is one
    happening under that name, since its first reading so.
    """
    a, pause_of = anomaly.c, find_pauses(site)
    chosen = series_table.c.site == site.id if series_ids is None else a.series_id.in_(series_ids)
    rows = _go_back(c, _read_alerts(c, chosen, a.at > since, a.at <= now), since, pause_of)
    ids = {row.series_id for row in rows}
    first = min((row.at for row in rows), default=since)
    wrong = _list_believed(c, site, ids, now)
    ways_back = {(one.series_id, one.back_at) for one in wrong}  # from another unit: no fault
    rows = [row for row in rows if row.detector != CHECK or (row.series_id, row.at) not in ways_back]
    found = [_sum_up(*one) for one in _divide(rows, pause_of, load_labels(c, ids, first), wrong)]
    found = [run for run in _join_wrong(found, wrong) if run.to_at > since]
    labelled = _add_labels(c, found, min((run.from_at for run in found), default=since))
    return sorted(labelled, key=lambda run: (run.from_at, run.station, run.quantity))


def _read_alerts(c: Connection, *where: ColumnElement[bool]) -> list[Any]:
    a, s = anomaly.c, series_table.c
    scored_at = type_coerce(a.scored_at, String).label("scored_at")  # nothing reads it as an instant
    rest = [k for k in a if k.name != "scored_at"]
    query = (
        select(*rest, scored_at, s.station, s.quantity)
        .join(series_table, s.id == a.series_id)
        .where(a.alerted, *where)
        .order_by(a.series_id, a.at, a.detector)
    )
    return list(c.execute(query))


def _go_back(c: Connection, rows: Sequence[Any], since: datetime, pause_of: Callable[[Any], timedelta]) -> list[Any]:
    """Alerts since an instant, and those before it that belong to the same happenings.

    Each step back is twice as long as the one before, and asks for the series alone that were not at their begin yet.
    """
    a, found = anomaly.c, list(rows)
    begins: dict[int, Any] = {}
    for row in rows:
        begins.setdefault(row.series_id, row)
    low, reach = since, max(map(pause_of, begins.values()), default=SHORTEST_PAUSE)
    while begins := {i: row for i, row in begins.items() if row.at - low <= pause_of(row)}:
        high, low = low, low - reach
        earlier: dict[int, list[Any]] = {}
        for row in _read_alerts(c, a.series_id.in_(begins), a.at > low, a.at <= high):
            earlier.setdefault(row.series_id, []).append(row)
        for series_id, mine in earlier.items():
            for row in reversed(mine):
                if begins[series_id].at - row.at > pause_of(row):
                    break
                begins[series_id] = row
                found.append(row)
        reach *= 2
    return sorted(found, key=attrgetter("series_id", "at", "detector"))


def _divide(
    rows: Sequence[Any],
    pause_of: Callable[[Any], timedelta],
    labels: Mapping[int, Sequence[Any]],
    wrong: Sequence[WrongUnit],
) -> list[tuple[list[Any], int]]:
    """Alerts by happening, and the number of the word that each goes beyond; arguments in order of series and time.

    A pause ends one, and so do begin and end of another unit. So does what a person dismissed where it becomes more
    than they saw: `STRONGER` times as strong, or a fault that a check found after their word. What came late and was
    scored after their word they did not see.
    """
    found: list[tuple[list[Any], int]] = []
    for series_id, of_series in groupby(rows, attrgetter("series_id")):
        mine = list(of_series)
        units = [one for one in wrong if one.series_id == series_id]
        found += _divide_series(mine, pause_of(mine[0]), labels.get(series_id, ()), units)
    return found


def _divide_series(
    rows: Sequence[Any], pause: timedelta, labels: Sequence[Any], wrong: Sequence[WrongUnit]
) -> list[tuple[list[Any], int]]:
    """The same for the alerts, labels and wrong units of one series."""
    found: list[tuple[list[Any], int]] = []
    last, beyond, seen = list[Any](), 0, dict[int, tuple[float, set[str]]]()
    for at, epoch in groupby(rows, attrgetter("at")):
        news = list(epoch)
        is_new = not last or at - last[-1].at > pause
        is_new = is_new or any(_overlaps(one, last[-1].at) != _overlaps(one, at) for one in wrong)
        if is_new:
            last, beyond = [], 0
        # what begins shortly before the time of a word may go on into it
        begin, end = (last[0].at, last[-1].at) if last else (at, at + pause)
        label = next((k for k in labels if k.id > beyond and k.from_at <= end and k.to_at >= begin), None)
        if label is not None and label.verdict == DISMISSED:
            if label.id not in seen:
                labelled_at = format_iso(label.at)
                of_time = (row for row in rows if label.from_at <= row.at <= label.to_at)
                known = [row for row in of_time if row.scored_at <= labelled_at]
                seen[label.id] = max(map(_in_thresholds, known), default=0.0), {row.detector for row in known}
            if _is_more(news, label, *seen[label.id]):
                is_new, last, beyond = True, [], label.id
        if is_new:
            found.append((last, beyond))
        last += news
    return found


def _is_more(rows: Iterable[Any], label: Any, highest: float, detectors: Collection[str]) -> bool:
    """Whether alerts that were not known at a label are more than those that were."""
    labelled_at = format_iso(label.at)
    return any(
        row.detector not in detectors if row.detector in CHECKS else _in_thresholds(row) > STRONGER * highest
        for row in rows
        if row.at > label.to_at or row.scored_at > labelled_at
    )


def _in_thresholds(row: Any) -> float:
    return float(row.score / row.threshold if row.threshold else row.score)


def _sum_up(rows: Sequence[Any], beyond: int) -> AnomalyRun:
    """One happening from its alerts, in order of time, and the number of the word that it goes beyond."""
    highest: dict[str, tuple[float, Any]] = {}  # by detector, the first of those
    for row in rows:
        score = _in_thresholds(row)
        if row.detector not in highest or score > highest[row.detector][0]:
            highest[row.detector] = score, row
    # what a check found is named so, whatever scores say
    certain = (row for row in rows if row.detector in CHECKS)
    most = max(score for score, _ in highest.values())
    named = next(certain, None) or next(row for row in rows if _in_thresholds(row) == most)
    against = [
        read_columns(row, "compared_with")
        if row.compared_with
        else convert_reason(compared_with(row.detector, row.kind))
        for _, (_, row) in sorted(highest.items())
    ]
    return AnomalyRun(
        rows[0].series_id,
        rows[0].station,
        rows[0].quantity,
        rows[0].at,
        rows[-1].at,
        named.kind,
        tuple(sorted(highest)),
        most,
        tuple(dict.fromkeys(text for text in against if text)),
        beyond=beyond,
        newest={row.detector: row.at for row in rows},
    )


def _join_wrong(runs: Sequence[AnomalyRun], wrong: Sequence[WrongUnit]) -> list[AnomalyRun]:
    """What is said in a time of another unit as one happening; arguments and result by series, in order of time."""
    found, last = list[AnomalyRun](), None
    for run in runs:
        one = next((w for w in wrong if w.series_id == run.series_id and _overlaps(w, run.from_at, run.to_at)), None)
        if one is not None and one is last:
            found[-1] = replace(
                found[-1],
                to_at=run.to_at,
                detectors=tuple(sorted({*found[-1].detectors, *run.detectors})),
                score=max(found[-1].score, run.score),
                compared_with=tuple(dict.fromkeys((*found[-1].compared_with, *run.compared_with))),
                beyond=max(found[-1].beyond, run.beyond),
                newest={**found[-1].newest, **run.newest},
            )
        else:
            found.append(
                run if one is None else replace(run, kind=CHECKS[CHECK], from_at=min(one.from_at, run.from_at))
            )
        last = one
    return found


def _overlaps(one: WrongUnit, from_at: datetime, to_at: datetime | None = None) -> bool:
    return (to_at or from_at) >= one.from_at and (one.to_at is None or from_at <= one.to_at)


def _list_believed(c: Connection, site: Site, series_ids: Collection[int], now: datetime) -> list[WrongUnit]:
    """Times in which series speak another unit, without those of which a person said something else."""
    wrong = list_wrong_units(c, site, series_ids, now)
    if not wrong:
        return []
    labels = load_labels(c, {one.series_id for one in wrong}, min(one.from_at for one in wrong))
    found = []
    for one in wrong:
        touching = (k for k in labels.get(one.series_id, ()) if k.from_at <= one.found_at <= k.to_at)
        label = next(touching, None)
        if label is None or (label.verdict != DISMISSED and label.cause in {"unknown", CHECKS[CHECK]}):
            found.append(one)
    return found


@dataclass(frozen=True, slots=True)
class DismissedAlarms:
    """What was dismissed of a series."""

    alarms: datetime  # up to when its alarms were
    stuck: datetime | None  # up to when its stuck stretch was, None where none was
    standing: Mapping[str, datetime]  # of each detector, its newest alarm up to there that nobody dismissed


def load_dismissed(c: Connection, site: Site, since: datetime, now: datetime) -> dict[int, DismissedAlarms]:
    """What was dismissed of each series of a site, without those of which nothing was."""
    k, s = anomaly_label.c, series_table.c
    query = select(k.series_id).join(series_table, s.id == k.series_id)
    ids = set(c.execute(query.where(s.site == site.id, k.verdict == DISMISSED, k.to_at > since)).scalars())
    found: dict[int, DismissedAlarms] = {}
    standing: dict[int, dict[str, datetime]] = {}
    for run in load_runs(c, site, since, now, ids) if ids else ():
        before = standing.setdefault(run.series_id, {})
        if run.label is not None and run.label.verdict == DISMISSED:
            stuck = max(run.label.at, run.to_at) if STUCK in run.detectors else None
            if stuck is None and run.series_id in found:
                stuck = found[run.series_id].stuck
            found[run.series_id] = DismissedAlarms(run.to_at, stuck, dict(before))
        else:
            before.update(run.newest)
    return found


def list_standing(
    c: Connection, site: Site, series: Mapping[tuple[str, str], int], since: datetime, now: datetime
) -> list[AnomalyRun]:
    """Series of which what was found before a time still lasts.

    They were found stuck, and have said one value alone since that time; or their unit is still wrong.
    """
    found = [
        AnomalyRun(one.series_id, one.station, one.quantity, one.from_at, one.found_at, CHECKS[CHECK], (CHECK,), 1.0)
        for one in _list_believed(c, site, series.values(), now)
        if one.to_at is None and one.found_at <= since
    ]
    for (station, quantity), series_id in series.items():
        at = find_newest_alert(c, series_id, STUCK, since)
        if at is not None and len({r.value for r in load_readings(c, series_id, since, now, now)}) == 1:
            found.append(AnomalyRun(series_id, station, quantity, at, at, CHECKS[STUCK], (STUCK,), 1.0))
    return _add_labels(c, found, min((run.from_at for run in found), default=now))


def _add_labels(c: Connection, runs: Sequence[AnomalyRun], since: datetime) -> list[AnomalyRun]:
    labels = load_labels(c, {run.series_id for run in runs}, since)
    return [
        replace(run, label=next((k for k in labels.get(run.series_id, ()) if _speaks_of(k, run)), None)) for run in runs
    ]


def _touches(label: Any, run: Any) -> bool:
    return bool(label.from_at <= run.to_at and label.to_at >= run.from_at)


def _speaks_of(label: Any, run: AnomalyRun) -> bool:
    return _touches(label, run) and bool(label.id > run.beyond)


def load_labels(c: Connection, series_ids: Collection[int], since: datetime) -> dict[int, list[Any]]:
    """What people said of some series since an instant, by series, the newest word first; not what was withdrawn."""
    k = anomaly_label.c
    found: dict[int, list[Any]] = {}
    withdrawn: list[Any] = []
    lasts = or_(k.to_at >= since, k.verdict == WITHDRAWN)
    query = select(anomaly_label).where(k.series_id.in_(series_ids), lasts).order_by(k.id.desc())
    for row in c.execute(query):
        if row.verdict == WITHDRAWN:
            withdrawn.append(row)
        # a word on the happening before may reach into this one: it begins earlier, and stays
        elif not any(w.series_id == row.series_id and w.from_at <= row.from_at and _touches(row, w) for w in withdrawn):
            found.setdefault(row.series_id, []).append(row)
    return found


def find_run(runs: Sequence[AnomalyRun], station: str, at: datetime, quantity: str | None = None) -> AnomalyRun:
    """The happening at a station that an instant lies in.

    Raises:
        NotFoundError: there is none, or there are several of different quantities.
    """
    mine = [r for r in runs if r.station == station and quantity in {None, r.quantity} and r.from_at <= at <= r.to_at]
    if not mine:
        raise NotFoundError(
            f"no anomaly of {station} at {format_iso(at)[:19]}Z; see `slopeward anomalies list --site S`"
        )
    if len(mine) > 1:
        names = ", ".join(r.quantity for r in mine)
        raise NotFoundError(f"{station} has several at that time: {names}; say which by --quantity")
    return mine[0]


def add_label(
    c: Connection,
    site: str,
    run: AnomalyRun,
    verdict: str,
    cause: str,
    actor: Actor,
    note: str,
    now: datetime,
    *,
    seen: int | None = None,
) -> int:
    """Keep what a person says of a happening; earlier words stay, the newest counts. Returns its number.

    It trains the false-alarm budget and clears the board of instruments. It takes part in no decision. The same word of
    the same person on the same happening is kept once.

    Args:
        run: the happening with its newest label.
        cause: one of `ANOMALY_CAUSES`.
        seen: number of the newest word that the person was shown, 0 = none; None = they were shown nothing.

    Raises:
        RefusedError: no person, an unknown verdict or cause, nothing to withdraw.
        SupersededError: another person stored a label meanwhile.
    """
    require_person(actor, verdict)
    if verdict not in VERDICTS:
        raise RefusedError(f"verdict {verdict!r} is unknown; expected one of: {', '.join(VERDICTS)}")
    if cause not in ANOMALY_CAUSES:
        raise RefusedError(f"cause {cause!r} is unknown; expected one of: {', '.join(ANOMALY_CAUSES)}")
    last, from_at, given = run.label, run.from_at, (verdict, cause, actor.name, note)
    if last is None:
        k = anomaly_label.c
        mine = k.series_id == run.series_id, k.from_at <= run.to_at, k.to_at >= run.from_at
        newest = c.execute(select(k.id, k.verdict, k.by).where(*mine).order_by(k.id.desc()).limit(1)).first()
        # a second tap says no more
        if verdict == WITHDRAWN and newest is not None and (newest.verdict, newest.by) == (WITHDRAWN, actor.name):
            return int(newest.id)
        if verdict == WITHDRAWN or seen:
            raise RefusedError(_NOBODY)
    elif (last.verdict, last.cause, last.by, last.note) == given and last.to_at >= run.to_at:
        return int(last.id)
    elif seen not in {None, last.id}:
        raise SupersededError(_MEANWHILE(name=last.by, verdict=Term(last.verdict)))
    elif verdict == WITHDRAWN:  # all that was said of it
        words = load_labels(c, {run.series_id}, run.from_at)[run.series_id]
        from_at = min([run.from_at, *(k.from_at for k in words if _speaks_of(k, run))])
    facts = {"verdict": verdict, "cause": cause, "note": note}
    where = {"series_id": run.series_id, "from_at": from_at, "to_at": run.to_at}
    number = add_row(c, anomaly_label, facts, where, by=actor.name, at=now)
    detail = {
        "label": number,
        "quantity": run.quantity,
        "from": format_iso(run.from_at),
        "to": format_iso(run.to_at),
    } | facts
    add_audit(c, actor, "anomaly.label", f"station:{site}/{run.station}", detail, now)
    return number
