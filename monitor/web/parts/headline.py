"""What a site's headline says besides its level: the alert behind it, how fast it moves, what may come."""

import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, select

from forecasting.message import TEXT_OF, Figure, Message, Template, Term, gather
from monitor.domain.alert import Ledger
from monitor.domain.decision import Memory
from monitor.domain.headline import Headline, find_headline, find_window
from monitor.domain.instants import epoch_s, spell
from monitor.language.subjects import find_first
from monitor.notify.declarations import find_declaration
from monitor.reports.pictures import Scale
from monitor.store.alerting import timeline
from monitor.store.alerting.decisions import find_state
from monitor.store.schema import tables as t

_ASKING: Final = Template("headline.now", "{text}; {n} stations ask for {level}")
_ONE_ASKS: Final = Template("headline.now.one", "{text}; 1 station asks for {level}")
_NOBODY: Final = Template("headline.now.nobody", "no station asks for {level}")
SPARK: Final = timedelta(days=1)
SPARK_MOST: Final = 160  # points of a small picture
READ_AT_ONCE, SENTENCES_KEPT = 6, 200
_lock: Final = threading.Lock()
CALM: Final = "creep"  # the stage that is nothing to wake anybody for


_sentences: Final[dict[tuple[str, int], Headline | None]] = {}  # by the hash of the evidence, and level


def tell_sentences(
    c: Connection, alerts: Iterable[Mapping[str, Any]], at_once: int = READ_AT_ONCE
) -> dict[int, str]:  # fmt: skip
    """What is behind the level of each alert of hazard, by its id: one sentence."""
    hazards = [alert for alert in alerts if alert["ledger"] == Ledger.HAZARD]
    return {number: one.sentence for number, one in find_headlines(c, hazards, at_once).items()}


def find_headlines(
    c: Connection, hazards: Iterable[Mapping[str, Any]], at_once: int = READ_AT_ONCE
) -> dict[int, Headline]:  # fmt: skip
    """What is behind the level of each of some alerts, by its id, as messages say it.

    Frozen evidence never changes, so it is read once by this process. It may be megabytes: of many alerts at once a
    few are read, the others show their reason until the page asks again.
    """
    found, left = {}, at_once
    for alert in hazards:
        key = (str(alert["evidence_sha256"]), int(alert["level"]))
        if key not in _sentences and left:
            left -= 1
            said = read_headline(c, load_evidence(c, alert["alert_id"]), alert)
            with _lock:  # pages are made by many threads; the oldest goes where there are many
                while len(_sentences) >= SENTENCES_KEPT:
                    del _sentences[next(iter(_sentences))]
                _sentences[key] = said
        if (said := _sentences.get(key)) is not None:
            found[int(alert["alert_id"])] = said
    return found


def read_headline(c: Connection, frozen: Mapping[str, Any], alert: Mapping[str, Any]) -> Headline | None:
    """The headline of one alert from its evidence; evidence of an odd form has none."""
    with suppress(KeyError, TypeError, ValueError, IndexError, AttributeError):
        return find_headline(frozen, find_declaration(c, str(alert["config_version"])), int(alert["level"]))
    return None


def load_evidence(c: Connection, alert_id: int) -> dict[str, Any]:
    """The frozen evidence of an alert with its messages; empty where there is none."""
    d, a = t.decision.c, t.alert.c
    kept = c.execute(select(d.evidence).join(t.alert, a.decision_id == d.id).where(a.id == alert_id)).scalar()
    found: dict[str, Any] = gather(read_json(kept))
    return found


def read_json(text: str | None) -> dict[str, Any]:
    """Frozen evidence as it is kept; empty where it cannot be read any more."""
    found: Any = {}
    with suppress(ValueError, RecursionError):  # altered, perhaps: the page of the alert says so
        found = json.loads(text) if text else {}
    return found if isinstance(found, dict) else {}


def tell_now(c: Connection, hazards: Mapping[str, Mapping[str, Any]]) -> dict[str, Message]:
    """What each site's level rests on by its newest decision, beside what stood when it was raised.

    The votes of the newest readings are told: how many stations ask for the level now, and what the fastest measures.
    """
    found = {}
    for site, hazard in hazards.items():
        if (row := find_state(c, site)) is None or not hazard["level"]:
            continue
        asking = [(k.station, v) for k, v in Memory.read(row.state).votes.items() if v.level >= hazard["level"]]
        if not asking:
            found[site] = _NOBODY(level=Term(hazard["level_name"]))
            continue
        station, vote = max(asking, key=lambda one: (_find_rate(one[1].reason), one[0]))
        told = TEXT_OF(name=station, text=find_first(vote.reason))
        stations, level = len({name for name, _ in asking}), Term(hazard["level_name"])
        found[site] = (
            _ONE_ASKS(text=told, level=level) if stations == 1 else _ASKING(text=told, n=stations, level=level)
        )
    return found


def _find_rate(reason: Message) -> float:
    first = find_first(reason)
    rate = first.values.get("rate") if isinstance(first, Message) else None
    return abs(rate.value) if isinstance(rate, Figure) else 0.0


def find_hazards(alerts: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The alert of each site that its headline is about: of open ones, the highest first, and no drill."""
    found: dict[str, dict[str, Any]] = {}
    for alert in alerts:
        if alert["ledger"] == Ledger.HAZARD and not alert["exercise"]:
            found.setdefault(alert["site"], alert)
    return found


def describe_motion(movement: list[dict[str, Any]], now: datetime, watched: AbstractSet[str]) -> dict[str, Any] | None:
    """The fastest series, how many stations are beyond creep, the next trusted window; None where none is judged.

    Silence is no calm: a station whose stage is unknown now is not among those that are counted, and is told with the
    stage it was last seen in.

    Args:
        movement: rows of `timeline.load_newest_movement`.
        now: the present.
        watched: stations on the slope that the site file declares; others moved once and are judged no more.
    """
    movement = [row for row in movement if row["station"] in watched]
    judged = [row for row in movement if row["velocity_mm_per_day"] is not None]
    seen = {row["station"] for row in movement if row["stage"] not in {None, timeline.UNKNOWN}}
    lost = [row for row in movement if row["station"] not in seen]
    last = sorted({row["last_stage"] for row in lost if row["last_stage"]}, key=lambda stage: (stage == CALM, stage))
    if not judged and not last:
        return None
    windows = [row["window"] for row in movement if row["window"] and row["window"]["trusted"]]
    heard = max((row["data_until"] for row in movement if row["data_until"]), default=spell(now))
    return {
        "fastest": max(judged, key=lambda row: abs(row["velocity_mm_per_day"]), default=None),
        "beyond": len({row["station"] for row in movement if row["stage"] not in {None, timeline.UNKNOWN, CALM}}),
        "stations": len(seen), "lost": len({row["station"] for row in lost}), "last_stages": last,
        "window": find_window(windows, "window_from", "window_to", heard),
    }  # fmt: skip


def collect_motions(c: Connection, sites: Sequence[str], now: datetime) -> dict[str, dict[str, Any]]:
    """How each of some sites moves, with the velocity of its fastest series over a day as a small picture."""
    movements = timeline.load_newest_movements(c, sites, now)
    s = t.station.c
    watched: dict[str, set[str]] = {}
    for row in c.execute(select(s.site, s.id).where(s.site.in_(sites), s.declared, s.on_slope)):
        watched.setdefault(row.site, set()).add(row.id)
    motions = {site: describe_motion(rows, now, watched.get(site, set())) for site, rows in movements.items()}
    found = {site: motion for site, motion in motions.items() if motion is not None}
    ids = [motion["fastest"]["series_id"] for motion in found.values() if motion["fastest"]]
    past = timeline.load_velocities(c, ids, now - SPARK, now)
    for motion in found.values():
        motion["spark"] = (
            draw_velocities(past.get(motion["fastest"]["series_id"], []), now) if motion["fastest"] else ""
        )
    return found


def draw_velocities(past: Sequence[tuple[datetime, float]], now: datetime) -> str:
    """The line of a small picture of the last day, from zero up; empty where there is none."""
    thinned = past[:: max(1, -(-len(past) // SPARK_MOST))]
    if len(thinned) < 2:
        return ""
    speeds = [abs(v) for _, v in thinned]
    scale = Scale([epoch_s(now - SPARK), epoch_s(now)], [0.0, *speeds])
    return scale.draw([(epoch_s(at), v) for (at, _), v in zip(thinned, speeds, strict=True)])
