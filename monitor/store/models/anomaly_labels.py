"""What people say of anomalies: confirmed or dismissed, with the cause; kept with who and when, the newest counts."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, insert, select

from detection.anomaly.registry import CHECKS, compared_with
from monitor.domain.alert import Actor
from monitor.domain.instants import spell
from monitor.domain.instruments.board import CAUSES, DISMISSED, VERDICTS
from monitor.domain.site import Site
from monitor.errors import NotFoundError, RefusedError
from monitor.store.alerting.decisions import inserted_id
from monitor.store.database.audit import add_audit
from monitor.store.models.anomalies import find_newest_alert
from monitor.store.models.wrong_units import CHECK, WrongUnit, list_wrong_units
from monitor.store.people.users import require_person
from monitor.store.readings.observations import load_readings
from monitor.store.schema import tables as t

SHORTEST_PAUSE: Final = timedelta(hours=6)
STUCK: Final = "flatline"  # the check whose finding lasts as long as the readings stay equal


@dataclass(frozen=True, slots=True)
class AnomalyRun:
    """Epochs of one series that detectors reported one after the other: one happening, labelled as one.

    Attributes:
        series_id: the series.
        station: of it.
        quantity: of it.
        from_at: first epoch.
        to_at: last epoch.
        kind: what a check found it to be, else what the highest score said it was.
        detectors: those that reported it.
        score: the highest, in units of its threshold.
        compared_with: what each of them compared its highest score with, in words, each once.
        label: the newest word of a person, None = nobody said anything.
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


def pause_of(site: Site) -> timedelta:
    """Epochs farther apart than this are two happenings: twice the slowest interval, six hours at least."""
    slowest = max((spec.interval_s for s in site.stations for spec in s.series), default=0.0)
    return max(SHORTEST_PAUSE, timedelta(seconds=2.0 * slowest))


def load_runs(c: Connection, site: Site, since: datetime, now: datetime) -> list[AnomalyRun]:
    """Happenings of a time, oldest first, each with the newest label that touches it.

    All that is said of a series while its unit is wrong is one happening under that name, since its first reading so.
    """
    a, s = t.anomaly.c, t.series.c
    rows = c.execute(
        select(a.series_id, s.station, s.quantity, a.at, a.kind, a.detector, a.score, a.threshold, a.compared_with)
        .join(t.series, s.id == a.series_id)
        .where(s.site == site.id, a.alerted, a.at > since, a.at <= now)
        .order_by(a.series_id, a.at, a.detector)
    ).all()
    pause, found = pause_of(site), list[AnomalyRun]()
    highest: dict[str, tuple[float, str]] = {}  # by detector: its highest score, and what that was compared with
    for r in rows:
        score = r.score / r.threshold if r.threshold else r.score
        last = found[-1] if found and found[-1].series_id == r.series_id else None
        if last is None or r.at - last.to_at > pause:
            last, highest = AnomalyRun(r.series_id, r.station, r.quantity, r.at, r.at, r.kind, (), -math.inf), {}
            found.append(last)
        if r.detector not in highest or score > highest[r.detector][0]:
            highest[r.detector] = score, r.compared_with or compared_with(r.detector, r.kind)
        is_certain = not CHECKS.keys().isdisjoint(last.detectors)  # what a check found is named so, whatever scores say
        is_named = not is_certain and (r.detector in CHECKS or score > last.score)
        found[-1] = replace(
            last, to_at=r.at, kind=r.kind if is_named else last.kind, detectors=tuple(sorted(highest)),
            score=max(score, last.score),
            compared_with=tuple(dict.fromkeys(text for _, (_, text) in sorted(highest.items()) if text)),
        )  # fmt: skip
    found = _join_wrong(found, _list_believed(c, site, {run.series_id for run in found}, now))
    labelled = _add_labels(c, found, min((run.from_at for run in found), default=since))
    return sorted(labelled, key=lambda run: (run.from_at, run.station, run.quantity))


def _join_wrong(runs: Sequence[AnomalyRun], wrong: Sequence[WrongUnit]) -> list[AnomalyRun]:
    """What is said in a time of another unit as one happening; arguments and result by series, in order of time."""
    found, last = list[AnomalyRun](), None
    for run in runs:
        one = next((w for w in wrong if w.series_id == run.series_id and _overlaps(w, run)), None)
        if one is not None and one is last:
            found[-1] = replace(
                found[-1], to_at=run.to_at, detectors=tuple(sorted({*found[-1].detectors, *run.detectors})),
                score=max(found[-1].score, run.score),
                compared_with=tuple(dict.fromkeys((*found[-1].compared_with, *run.compared_with))),
            )  # fmt: skip
        else:
            found.append(
                run if one is None else replace(run, kind=CHECKS[CHECK], from_at=min(one.from_at, run.from_at))
            )
        last = one
    return found


def _overlaps(one: WrongUnit, run: AnomalyRun) -> bool:
    return run.to_at >= one.from_at and (one.to_at is None or run.from_at <= one.to_at)


def _list_believed(c: Connection, site: Site, series_ids: Collection[int], now: datetime) -> list[WrongUnit]:
    """Times in which series speak another unit, without those of which a person said something else."""
    wrong = list_wrong_units(c, site, series_ids, now)
    if not wrong:
        return []
    labels = load_labels(c, {one.series_id for one in wrong}, min(one.from_at for one in wrong))
    found = []
    for one in wrong:
        touching = (k for k in labels.get(one.series_id, ()) if k.from_at <= one.found_at <= k.to_at)
        word = next(touching, None)
        if word is None or (word.verdict != DISMISSED and word.cause in {"unknown", CHECKS[CHECK]}):
            found.append(one)
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
        replace(run, label=next((k for k in labels.get(run.series_id, ()) if _touches(k, run)), None)) for run in runs
    ]


def _touches(label: Any, run: AnomalyRun) -> bool:
    return bool(label.from_at <= run.to_at and label.to_at >= run.from_at)


def load_labels(c: Connection, series_ids: Collection[int], since: datetime) -> dict[int, list[Any]]:
    """What people said of some series since an instant, by series, the newest word first."""
    k = t.anomaly_label.c
    found: dict[int, list[Any]] = {}
    query = select(t.anomaly_label).where(k.series_id.in_(series_ids), k.to_at >= since).order_by(k.id.desc())
    for row in c.execute(query):
        found.setdefault(row.series_id, []).append(row)
    return found


def find_run(runs: Sequence[AnomalyRun], station: str, at: datetime, quantity: str | None = None) -> AnomalyRun:
    """The happening at a station that an instant lies in.

    Raises:
        NotFoundError: there is none, or there are several of different quantities.
    """
    mine = [r for r in runs if r.station == station and quantity in {None, r.quantity} and r.from_at <= at <= r.to_at]
    if not mine:
        raise NotFoundError(f"no anomaly of {station} at {spell(at)[:19]}Z; see `slopeward anomalies list --site S`")
    if len(mine) > 1:
        names = ", ".join(r.quantity for r in mine)
        raise NotFoundError(f"{station} has several at that time: {names}; say which by --quantity")
    return mine[0]


def add_label(
    c: Connection, site: str, run: AnomalyRun, verdict: str, cause: str, actor: Actor, note: str, now: datetime
) -> int:
    """Keep what a person says of a happening; earlier words stay, the newest counts. Returns its number.

    It trains the false-alarm budget and clears the board of instruments. It takes part in no decision.

    Raises:
        RefusedError: no person, or a verdict or cause that nobody knows.
    """
    require_person(actor, verdict)
    if verdict not in VERDICTS:
        raise RefusedError(f"verdict {verdict!r} is unknown; expected one of: {', '.join(VERDICTS)}")
    if cause not in CAUSES:
        raise RefusedError(f"cause {cause!r} is unknown; expected one of: {', '.join(CAUSES)}")
    number = inserted_id(
        c.execute(
            insert(t.anomaly_label).values(
                series_id=run.series_id, from_at=run.from_at, to_at=run.to_at, verdict=verdict, cause=cause,
                by=actor.name, note=note, at=now,
            )
        )
    )  # fmt: skip
    detail = {
        "label": number, "quantity": run.quantity, "from": spell(run.from_at), "to": spell(run.to_at),
        "verdict": verdict, "cause": cause, "note": note,
    }  # fmt: skip
    add_audit(c, actor, "anomaly.label", f"station:{site}/{run.station}", detail, now)
    return number
