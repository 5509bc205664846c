"""Measured slopes as observations, and a fast replay with one decision per data epoch."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from forecasting.data.workbook import read_sheet
from monitor.decision.criteria.scope import find_history_spans, find_load_start
from monitor.decision.decide import decide
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import Decision, DecisionInputs, EventFact, Memory, NewestEpoch
from monitor.decision.series.assessment import EvaluationCache
from monitor.readings.records import Observation, Reading
from monitor.sites.files import load_site
from monitor.sites.records import Site
from monitor.text.instants import epoch_s

SITES = Path(__file__).parent / "sites"
CASCADIA = ("ALBH", "BLYN", "KTBW", "NEAH", "P423", "P401", "P402", "P403", "P426", "P435", "SEAT", "SEDR")
OUTANG = ("MJ9", "MJ1", "MJ3", "ATU4", "ATU5", "ATU3", "ATU2", "ATU1")


def measured_site(name: str) -> Site:
    """Return the site of a site file next to these tests."""
    return load_site(SITES / f"{name}.toml")


def read_outang(path: Path) -> list[Observation]:
    """Return eight points, the rain index and the reservoir level, daily at midnight UTC."""
    observations = []
    with path.open(encoding="utf-8-sig") as file:
        for row in csv.DictReader(file):
            at = datetime.fromisoformat(row["Date"]).replace(tzinfo=UTC)
            for station in OUTANG:
                value = float(row[f"{station}/mm"])
                observations.append(Observation("outang", station, "displacement", "mm", at, at, value))
            observations.append(Observation("outang", "R1", "rain", "index", at, at, float(row["Rainfall/mm"])))
            observations.append(Observation("outang", "RES", "reservoir_level", "m", at, at, float(row["RWL/m"])))
    return observations


def read_baijiabao(path: Path) -> list[Observation]:
    """Return one point, rain and reservoir level, daily at midnight UTC."""
    observations = []
    for row in read_sheet(path).to_dict("records"):
        at = datetime.fromisoformat(row["Time"]).replace(tzinfo=UTC)
        for station, quantity, unit, column in (
            ("ZG1", "displacement", "mm", "Total"),
            ("R1", "rain", "mm", "Rainfall"),
            ("RES", "reservoir_level", "m", "Reservoir"),
        ):
            observations.append(Observation("baijiabao", station, quantity, unit, at, at, float(row[column])))
    return observations


def read_cascadia(
    folder: Path, from_at: datetime, to_at: datetime, stations: Sequence[str] = CASCADIA
) -> list[Observation]:
    """Return east, north and up with their standard deviations in mm, daily at noon UTC."""
    observations = []
    for station in stations:
        with (folder / f"{station}.pbo.nam08.csv").open() as file:
            for row in csv.reader(file):
                if len(row) < 7 or not row[0][:4].isdigit() or row[0][4:5] != "-":
                    continue
                at = datetime.fromisoformat(row[0]).replace(hour=12, tzinfo=UTC)
                if from_at <= at < to_at:
                    for column, part in ((2, "east"), (1, "north"), (3, "up")):
                        quantity, sigma = f"displacement_{part}", float(row[column + 3])
                        observations.append(
                            Observation("cascadia", station, quantity, "mm", at, at, float(row[column]), sigma)
                        )
    return observations


def replay(
    site: Site,
    observations: Sequence[Observation],
    *,
    extra_s: float = 0.0,
    events: tuple[EventFact, ...] = (),
    person: Callable[[Memory], Memory] = lambda memory: memory,
) -> Iterator[tuple[datetime, Decision]]:
    """Yield a decision at every instant of reception. The memory is serialised to JSON after each one."""
    span_s = max(find_history_spans(site).values())
    arrivals = sorted(observations, key=lambda o: (o.received_at, o.observed_at))
    held: dict[str, dict[datetime, Reading]] = {}
    newest: dict[str, NewestEpoch] = {}
    memory, warm = Memory(), EvaluationCache()
    prepared = PreparedSite(site)
    index = 0
    looks = sorted({o.received_at for o in arrivals})
    for look in looks:
        while index < len(arrivals) and arrivals[index].received_at <= look:
            o = arrivals[index]
            index += 1
            key = f"{o.station}.{o.quantity}"
            revision = held.setdefault(key, {})[o.observed_at].revision + 1 if o.observed_at in held.get(key, {}) else 0
            held.setdefault(key, {})[o.observed_at] = Reading(
                o.observed_at, o.received_at, revision, o.value, 0.0, o.value, o.sigma, o.flags, o.extra
            )
            at_s = epoch_s(o.observed_at)
            if "future" not in o.flags and (key not in newest or at_s >= newest[key].observed_s):
                newest[key] = NewestEpoch(at_s, epoch_s(o.received_at), o.flags)
        for now in (look, look + timedelta(seconds=extra_s)) if extra_s else (look,):
            edge = find_load_start(now, span_s)
            for series in held.values():
                for old in [at for at in series if at <= edge]:
                    del series[old]
            readings = {k: tuple(v[at] for at in sorted(v) if at <= now) for k, v in held.items()}
            known = tuple(e for e in events if e.received_s <= epoch_s(now))
            decision = decide(prepared, memory, DecisionInputs(readings, dict(newest), events=known), now, warm)
            memory = person(Memory.read(json.loads(json.dumps(decision.memory.to_json()))))
            yield now, decision
