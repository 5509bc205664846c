"""Anomalies as runs of alerts, and the labels that people give to them.

A label confirms or dismisses a run and names a cause. Labels are only added. The newest one counts.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, String, or_, select, type_coerce

from detection.anomaly.records import STRONGER
from detection.anomaly.registry import CHECKS, describe_comparison
from monitor.api.database import Actor, add_audit, add_row
from monitor.api.errors import NotFoundError, RefusedError, SupersededError
from monitor.api.queries.people import require_person
from monitor.api.queries.readings import load_readings
from monitor.api.sites import ANOMALY_CAUSES, DISMISSED, VERDICTS, WITHDRAWN, Site
from monitor.api.tables import series as series_table
from monitor.api.text import Template, Term, convert_reason, format_iso, read_columns
from monitor.features.anomalies.queries.scores import (
    UNIT_CHECK,
    WrongUnit,
    compute_ratio,
    find_newest_alert,
    list_wrong_units,
)
from monitor.features.anomalies.tables import anomaly, anomaly_label

_NO_LABEL: Final = Template("label.nobody", "this anomaly has no label any more; load the page again")()
_CHANGED: Final = Template(
    "label.meanwhile", "{name} has labelled this anomaly meanwhile: {verdict}; load the page again"
)
SHORTEST_PAUSE: Final = timedelta(hours=6)
# The check whose fault lasts as long as the readings stay equal.
STUCK: Final = "flatline"


@dataclass(frozen=True, slots=True)
class AnomalyRun:
    """Consecutive readings of one series that detectors alerted: one anomaly, which gets one label.

    Attributes:
        from_at: First reading.
        to_at: Last reading.
        kind: The kind of fault that a check found, or else the kind of the highest score.
        detectors: Detectors that alerted.
        score: The highest score in multiples of its threshold.
        compared_with: Texts on what each of them compared its highest score with, without repetitions.
        label: The newest label; None without one.
        beyond: Id of the newest label that does not apply, because the anomaly became stronger after it; 0 if all
            labels apply.
        newest: The newest reading of each detector.
    """

    series_id: int
    station: str
    quantity: str
    from_at: datetime
    to_at: datetime
    kind: str
    detectors: tuple[str, ...]
    score: float
    compared_with: tuple[str, ...] = ()
    label: Any = field(default=None, compare=False)
    beyond: int = field(default=0, compare=False)
    newest: Mapping[str, datetime] = field(default_factory=dict, compare=False)


def find_pauses(site: Site) -> Callable[[Any], timedelta]:
    """Return a function from a row of a series to the pause that separates two anomalies.

    It is twice the interval of the series and six hours at least, or twice the step of the detectors if that is longer.
    A series that is no longer declared has the longest interval of the site.
    """
    stations, step_s = {station.id: station for station in site.stations}, site.watched_step_s or 0.0
    longest_s = max((spec.interval_s for station in site.stations for spec in station.series), default=0.0)

    def find(row: Any) -> timedelta:
        spec = stations[row.station].find_series(row.quantity) if row.station in stations else None
        interval_s = longest_s if spec is None else spec.interval_s
        return max(SHORTEST_PAUSE, timedelta(seconds=2.0 * max(interval_s, step_s)))

    return find


def load_runs(
    c: Connection, site: Site, since: datetime, now: datetime, series_ids: Collection[int] | None = None
) -> list[AnomalyRun]:
    """Load the anomalies in (since, now], oldest first, each with its newest label.

    An anomaly that began before this time is loaded from its begin. Its begin, kind and label are therefore the same
    whatever time is loaded. All alerts of a series in a wrong unit are one anomaly of this kind, from its first reading
    in the wrong unit.

    Args:
        series_ids: Only these series.
    """
    a, find_pause = anomaly.c, find_pauses(site)
    chosen = series_table.c.site == site.id if series_ids is None else a.series_id.in_(series_ids)
    rows = _add_earlier_alerts(c, _load_alerts(c, chosen, a.at > since, a.at <= now), since, find_pause)
    ids = {row.series_id for row in rows}
    first = min((row.at for row in rows), default=since)
    wrong = _list_undisputed_wrong_units(c, site, ids, now)
    # A change back from another unit is no fault.
    changes_back = {(unit.series_id, unit.back_at) for unit in wrong}
    rows = [row for row in rows if row.detector != UNIT_CHECK or (row.series_id, row.at) not in changes_back]
    runs = [_summarise(*run) for run in _divide(rows, find_pause, load_labels(c, ids, first), wrong)]
    runs = [run for run in _join_wrong_units(runs, wrong) if run.to_at > since]
    labelled = _add_labels(c, runs, min((run.from_at for run in runs), default=since))
    return sorted(labelled, key=lambda run: (run.from_at, run.station, run.quantity))


def _load_alerts(c: Connection, *where: ColumnElement[bool]) -> list[Any]:
    a, s = anomaly.c, series_table.c
    scored_at = type_coerce(a.scored_at, String).label("scored_at")  # it is compared as text
    others = [column for column in a if column.name != "scored_at"]
    query = (
        select(*others, scored_at, s.station, s.quantity)
        .join(series_table, s.id == a.series_id)
        .where(a.alerted, *where)
        .order_by(a.series_id, a.at, a.detector)
    )
    return list(c.execute(query))


def _add_earlier_alerts(
    c: Connection, rows: Sequence[Any], since: datetime, find_pause: Callable[[Any], timedelta]
) -> list[Any]:
    """Return alerts since an instant with the alerts before it that belong to the same anomalies.

    Each step back is twice as long as the last one, and loads only the series whose begin is not found yet.
    """
    a = anomaly.c
    alerts = list(rows)
    begins: dict[int, Any] = {}
    for row in rows:
        begins.setdefault(row.series_id, row)
    low, reach = since, max(map(find_pause, begins.values()), default=SHORTEST_PAUSE)
    while begins := {i: row for i, row in begins.items() if row.at - low <= find_pause(row)}:
        high, low = low, low - reach
        earlier: dict[int, list[Any]] = {}
        for row in _load_alerts(c, a.series_id.in_(begins), a.at > low, a.at <= high):
            earlier.setdefault(row.series_id, []).append(row)
        for series_id, rows_of_series in earlier.items():
            for row in reversed(rows_of_series):
                if begins[series_id].at - row.at > find_pause(row):
                    break
                begins[series_id] = row
                alerts.append(row)
        reach *= 2
    return sorted(alerts, key=attrgetter("series_id", "at", "detector"))


def _divide(
    rows: Sequence[Any],
    find_pause: Callable[[Any], timedelta],
    labels: Mapping[int, Sequence[Any]],
    wrong: Sequence[WrongUnit],
) -> list[tuple[list[Any], int]]:
    """Divide alerts into anomalies. Return the alerts of each, and its `AnomalyRun.beyond`.

    An anomaly ends at a pause, and where a wrong unit begins or ends. A dismissed anomaly also ends where it becomes
    more than the person saw: `STRONGER` times as strong, or a fault that a check found after the label. The person did
    not see readings that came late and were scored after the label.

    Args:
        rows: Alerts, ordered by series and time.
    """
    runs: list[tuple[list[Any], int]] = []
    for series_id, group in groupby(rows, attrgetter("series_id")):
        of_series = list(group)
        units = [unit for unit in wrong if unit.series_id == series_id]
        runs += _divide_series(of_series, find_pause(of_series[0]), labels.get(series_id, ()), units)
    return runs


def _divide_series(
    rows: Sequence[Any], pause: timedelta, labels: Sequence[Any], wrong: Sequence[WrongUnit]
) -> list[tuple[list[Any], int]]:
    """Divide the alerts of one series into anomalies; see `_divide`."""
    runs: list[tuple[list[Any], int]] = []
    last: list[Any] = []
    beyond = 0
    # The highest score and the detectors that the person saw, by label.
    seen: dict[int, tuple[float, set[str]]] = {}
    for at, group in groupby(rows, attrgetter("at")):
        alerts = list(group)
        is_new = not last or at - last[-1].at > pause
        is_new = is_new or any(_overlaps(unit, last[-1].at) != _overlaps(unit, at) for unit in wrong)
        if is_new:
            last, beyond = [], 0
        # An anomaly that begins shortly before the time of a label may continue into it.
        begin, end = (last[0].at, last[-1].at) if last else (at, at + pause)
        label = next((one for one in labels if one.id > beyond and one.from_at <= end and one.to_at >= begin), None)
        if label is not None and label.verdict == DISMISSED:
            if label.id not in seen:
                seen[label.id] = _find_seen(rows, label)
            if _is_more(alerts, label, *seen[label.id]):
                is_new, last, beyond = True, [], label.id
        if is_new:
            runs.append((last, beyond))
        last += alerts
    return runs


def _find_seen(rows: Iterable[Any], label: Any) -> tuple[float, set[str]]:
    """Return the highest score and the detectors of the alerts that were known when a label was given."""
    labelled_at = format_iso(label.at)
    known = [row for row in rows if label.from_at <= row.at <= label.to_at and row.scored_at <= labelled_at]
    return max(map(_in_thresholds, known), default=0.0), {row.detector for row in known}


def _is_more(rows: Iterable[Any], label: Any, highest: float, detectors: Collection[str]) -> bool:
    """Return whether alerts that were not known when a label was given are more than those that were."""
    labelled_at = format_iso(label.at)
    return any(
        row.detector not in detectors if row.detector in CHECKS else _in_thresholds(row) > STRONGER * highest
        for row in rows
        if row.at > label.to_at or row.scored_at > labelled_at
    )


def _in_thresholds(row: Any) -> float:
    return compute_ratio(row.score, row.threshold)


def _summarise(rows: Sequence[Any], beyond: int) -> AnomalyRun:
    """Return one anomaly from its alerts, which are in order of time."""
    highest: dict[str, tuple[float, Any]] = {}  # by detector; the first of equal scores
    for row in rows:
        score = _in_thresholds(row)
        if row.detector not in highest or score > highest[row.detector][0]:
            highest[row.detector] = score, row
    # The kind that a check found counts more than that of a score.
    fault = next((row for row in rows if row.detector in CHECKS), None)
    largest = max(score for score, _ in highest.values())
    naming = fault or next(row for row in rows if _in_thresholds(row) == largest)
    texts = [
        read_columns(row, "compared_with")
        if row.compared_with
        else convert_reason(describe_comparison(row.detector, row.kind))
        for _, (_, row) in sorted(highest.items())
    ]
    return AnomalyRun(
        series_id=rows[0].series_id,
        station=rows[0].station,
        quantity=rows[0].quantity,
        from_at=rows[0].at,
        to_at=rows[-1].at,
        kind=naming.kind,
        detectors=tuple(sorted(highest)),
        score=largest,
        compared_with=tuple(dict.fromkeys(text for text in texts if text)),
        beyond=beyond,
        newest={row.detector: row.at for row in rows},
    )


def _join_wrong_units(runs: Sequence[AnomalyRun], wrong: Sequence[WrongUnit]) -> list[AnomalyRun]:
    """Join the anomalies of a series in a wrong unit. Arguments and result are ordered by series and time."""
    joined: list[AnomalyRun] = []
    last: WrongUnit | None = None
    for run in runs:
        of_series = (unit for unit in wrong if unit.series_id == run.series_id)
        unit = next((one for one in of_series if _overlaps(one, run.from_at, run.to_at)), None)
        if unit is not None and unit is last:
            before = joined[-1]
            joined[-1] = replace(
                before,
                to_at=run.to_at,
                detectors=tuple(sorted({*before.detectors, *run.detectors})),
                score=max(before.score, run.score),
                compared_with=tuple(dict.fromkeys((*before.compared_with, *run.compared_with))),
                beyond=max(before.beyond, run.beyond),
                newest={**before.newest, **run.newest},
            )
        elif unit is None:
            joined.append(run)
        else:
            joined.append(replace(run, kind=CHECKS[UNIT_CHECK], from_at=min(unit.from_at, run.from_at)))
        last = unit
    return joined


def _overlaps(unit: WrongUnit, from_at: datetime, to_at: datetime | None = None) -> bool:
    return (to_at or from_at) >= unit.from_at and (unit.to_at is None or from_at <= unit.to_at)


def _list_undisputed_wrong_units(
    c: Connection, site: Site, series_ids: Collection[int], now: datetime
) -> list[WrongUnit]:
    """Return the times in which series are in another unit, without those that a person labelled as something else."""
    wrong = list_wrong_units(c, site, series_ids, now)
    if not wrong:
        return []
    labels = load_labels(c, {unit.series_id for unit in wrong}, min(unit.from_at for unit in wrong))
    undisputed = []
    for unit in wrong:
        touching = (one for one in labels.get(unit.series_id, ()) if one.from_at <= unit.found_at <= one.to_at)
        label = next(touching, None)
        if label is None or (label.verdict != DISMISSED and label.cause in {"unknown", CHECKS[UNIT_CHECK]}):
            undisputed.append(unit)
    return undisputed


@dataclass(frozen=True, slots=True)
class DismissedAlarms:
    """Alarms of a series that people dismissed.

    Attributes:
        alarms: Time up to which its alarms were dismissed.
        stuck: Time up to which its stuck sensor was dismissed; None if it was not.
        valid: The newest alarm of each detector up to there that nobody dismissed.
    """

    alarms: datetime
    stuck: datetime | None
    valid: Mapping[str, datetime]


def load_dismissed(c: Connection, site: Site, since: datetime, now: datetime) -> dict[int, DismissedAlarms]:
    """Load the dismissed alarms of each series of a site. Series without any are left out."""
    columns = anomaly_label.c
    query = select(columns.series_id).join(series_table, series_table.c.id == columns.series_id)
    is_dismissed = columns.verdict == DISMISSED
    ids = set(c.execute(query.where(series_table.c.site == site.id, is_dismissed, columns.to_at > since)).scalars())
    dismissed: dict[int, DismissedAlarms] = {}
    valid: dict[int, dict[str, datetime]] = {}
    for run in load_runs(c, site, since, now, ids) if ids else ():
        valid_of_series = valid.setdefault(run.series_id, {})
        if run.label is not None and run.label.verdict == DISMISSED:
            stuck = max(run.label.at, run.to_at) if STUCK in run.detectors else None
            if stuck is None and run.series_id in dismissed:
                stuck = dismissed[run.series_id].stuck
            dismissed[run.series_id] = DismissedAlarms(run.to_at, stuck, dict(valid_of_series))
        else:
            valid_of_series.update(run.newest)
    return dismissed


def list_lasting(
    c: Connection, site: Site, series: Mapping[tuple[str, str], int], since: datetime, now: datetime
) -> list[AnomalyRun]:
    """Return the anomalies of some series that were found before an instant and last until now.

    The series is in a wrong unit, or its readings have been equal since it was found stuck.
    """
    lasting = [
        AnomalyRun(
            unit.series_id,
            unit.station,
            unit.quantity,
            unit.from_at,
            unit.found_at,
            CHECKS[UNIT_CHECK],
            (UNIT_CHECK,),
            1.0,
        )
        for unit in _list_undisputed_wrong_units(c, site, series.values(), now)
        if unit.to_at is None and unit.found_at <= since
    ]
    for (station, quantity), series_id in series.items():
        at = find_newest_alert(c, series_id, STUCK, since)
        values = {reading.value for reading in load_readings(c, series_id, since, now, now)} if at else set()
        if at is not None and len(values) == 1:
            lasting.append(AnomalyRun(series_id, station, quantity, at, at, CHECKS[STUCK], (STUCK,), 1.0))
    return _add_labels(c, lasting, min((run.from_at for run in lasting), default=now))


def _add_labels(c: Connection, runs: Sequence[AnomalyRun], since: datetime) -> list[AnomalyRun]:
    labels = load_labels(c, {run.series_id for run in runs}, since)
    return [
        replace(run, label=next((label for label in labels.get(run.series_id, ()) if _applies(label, run)), None))
        for run in runs
    ]


def _touches(label: Any, run: Any) -> bool:
    return bool(label.from_at <= run.to_at and label.to_at >= run.from_at)


def _applies(label: Any, run: AnomalyRun) -> bool:
    return _touches(label, run) and bool(label.id > run.beyond)


def load_labels(c: Connection, series_ids: Collection[int], since: datetime) -> dict[int, list[Any]]:
    """Load the labels of some series since an instant, by series, newest first, without labels that were withdrawn."""
    columns = anomaly_label.c
    labels: dict[int, list[Any]] = {}
    withdrawals: list[Any] = []
    is_recent = or_(columns.to_at >= since, columns.verdict == WITHDRAWN)
    query = select(anomaly_label).where(columns.series_id.in_(series_ids), is_recent).order_by(columns.id.desc())
    for row in c.execute(query):
        if row.verdict == WITHDRAWN:
            withdrawals.append(row)
            continue
        # A label of the anomaly before may reach into the withdrawn one. It begins earlier, and stays.
        is_withdrawn = any(
            withdrawal.series_id == row.series_id and withdrawal.from_at <= row.from_at and _touches(row, withdrawal)
            for withdrawal in withdrawals
        )
        if not is_withdrawn:
            labels.setdefault(row.series_id, []).append(row)
    return labels


def find_run(runs: Sequence[AnomalyRun], station: str, at: datetime, quantity: str | None = None) -> AnomalyRun:
    """Return the anomaly of a station that contains an instant.

    Raises:
        NotFoundError: There is none, or there are several of different quantities.
    """
    matches = [
        run
        for run in runs
        if run.station == station and quantity in {None, run.quantity} and run.from_at <= at <= run.to_at
    ]
    if not matches:
        raise NotFoundError(
            f"no anomaly of {station} at {format_iso(at)[:19]}Z; see `slopeward anomalies list --site S`"
        )
    if len(matches) > 1:
        names = ", ".join(run.quantity for run in matches)
        raise NotFoundError(f"{station} has several anomalies at that time: {names}; choose one by --quantity")
    return matches[0]


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
    """Store the label of a person for an anomaly, and return its id. Earlier labels stay.

    A label corrects the false-alarm budget and removes the anomaly from the page of instruments. It has no part in any
    decision. The same label of the same person for the same anomaly is stored once.

    Args:
        run: The anomaly with its newest label.
        cause: One of `ANOMALY_CAUSES`.
        seen: Id of the newest label that the person was shown, 0 for none. None: the person was shown no labels.

    Raises:
        RefusedError: The actor is no person, the verdict or the cause is unknown, or there is no label to withdraw.
        SupersededError: Another person stored a label meanwhile.
    """
    require_person(actor, verdict)
    if verdict not in VERDICTS:
        raise RefusedError(f"verdict {verdict!r} is unknown; expected one of: {', '.join(VERDICTS)}")
    if cause not in ANOMALY_CAUSES:
        raise RefusedError(f"cause {cause!r} is unknown; expected one of: {', '.join(ANOMALY_CAUSES)}")
    last, from_at = run.label, run.from_at
    if last is None:
        columns = anomaly_label.c
        of_run = columns.series_id == run.series_id, columns.from_at <= run.to_at, columns.to_at >= run.from_at
        query = select(columns.id, columns.verdict, columns.by).where(*of_run).order_by(columns.id.desc()).limit(1)
        newest = c.execute(query).first()
        # The person has pressed the button twice.
        if verdict == WITHDRAWN and newest is not None and (newest.verdict, newest.by) == (WITHDRAWN, actor.name):
            return int(newest.id)
        if verdict == WITHDRAWN or seen:
            raise RefusedError(_NO_LABEL)
    elif (last.verdict, last.cause, last.by, last.note) == (verdict, cause, actor.name, note) and (
        last.to_at >= run.to_at
    ):
        return int(last.id)
    elif seen not in {None, last.id}:
        raise SupersededError(_CHANGED(name=last.by, verdict=Term(last.verdict)))
    elif verdict == WITHDRAWN:  # all labels of the anomaly
        labels = load_labels(c, {run.series_id}, run.from_at)[run.series_id]
        from_at = min([run.from_at, *(label.from_at for label in labels if _applies(label, run))])
    facts = {"verdict": verdict, "cause": cause, "note": note}
    where = {"series_id": run.series_id, "from_at": from_at, "to_at": run.to_at}
    label_id = add_row(c, anomaly_label, facts, where, by=actor.name, at=now)
    detail = {
        "label": label_id,
        "quantity": run.quantity,
        "from": format_iso(run.from_at),
        "to": format_iso(run.to_at),
        **facts,
    }
    add_audit(c, actor, "anomaly.label", f"station:{site}/{run.station}", detail, now)
    return label_id
