"""`rules` on the records on which they are chosen: none of them is judged by the benchmarks G, K, S and SK.

Ten records: other components or years of the stations of Japan and Cascadia, and the curve of Outang with their noise.
Fault seeds 10 to 12; those of the benchmarks are 0 to 2.

Beside what is served, ways that were tried are judged on them (`TRIED`). What the rule of echoes hides is measured by
drifts that begin `AFTER_DAYS` after a step. What a site without history is served is judged beside other thresholds
for it. Thresholds that are counted anew lie three
quarters of the way from those of the own past to those of other sites. These have the highest mean F1 (seeds 20 to 23)
on the five records that share no noise with the one that is judged.
With `--look` and the name of a benchmark it says which false runs are in the untouched record, and chooses nothing;
with `--fresh` as well, what a site without history misses there, how large, and what thresholds that know the faults
would find.
"""

import argparse
import csv
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from os import environ
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detection.anomaly.bench import TEST_FROM, find_certain, run_bench
from detection.anomaly.detector import VALIDATE_UNTIL, Detector, start_without_history, train_detector
from detection.anomaly.evaluation import DetectionOutcome, evaluate_alarms
from detection.anomaly.faults import AFTERMATH_DAYS, KINDS, Event, inject, inject_many
from detection.anomaly.parts import LONG_AGO, StrongestPart, score_record
from detection.anomaly.records import RUN_GAP_S
from detection.anomaly.registry import CARRIED_OVER, DRAWN_TO
from detection.anomaly.robust import noise_sigma
from detection.anomaly.split import split_budget
from detection.anomaly.stages import DAY_S
from detection.anomaly.threshold import DetectorThreshold
from detection.anomaly.windows import Series, build_series
from forecasting.data import sources as source
from tests.bench.record import read_figures, record

SEEDS: Final = (10, 11, 12)
COUNTED_SEEDS: Final = (20, 21, 22, 23)
BUDGET: Final = 0.1
MISSING: Final = 0.05  # of its days: a station of Cascadia with more is left out
BEGIN: Final = {"level": 5.0, "trend": 5.0, "drift": 6.0, "creep": 20.0, "bend": 5.0, "noise": 2.5}
STEPS: Final = (1.3, 1.15, 1.06)
AT_MOST: Final = 1.2  # budgets; what a record has above it is taken off its F1
ECHO_DAYS: Final = 150
OWN: Final = 0.25  # of a threshold that is counted anew
WANTED: Final = 0.85  # recall of a site without history, within the budget
DEARER: Final = 3.0  # a false alarm per sensor-month beyond the budget counts so many times as much as recall
# thresholds for a site without history; those counted anew come of `count_thresholds` for a recall of .9 at .08
FIRST: Final[Mapping[str, Mapping[str, float]]] = {
    "served": CARRIED_OVER["rules"],
    "split by value": DRAWN_TO["rules"],
    "fast parts counted anew": DRAWN_TO["rules"] | {"level": 4.2, "trend": 5.7, "noise": 2.36},
    "all parts counted anew": {"level": 4.2, "trend": 5.7, "drift": 5.35, "creep": 29.57, "bend": 6.9, "noise": 2.36},
}
AFTER_DAYS: Final = (10, 20, 40)
WITHOUT: Final = ", without the drift"
NATURAL: Final = "false in the untouched record"
Table = dict[str, NDArray[np.float64]]
Read = Callable[[str, str, str], Table]


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--look", help="a benchmark: G, K, S or SK")
    parser.add_argument("--way", help="one of those that were tried, judged alone beside what is served")
    parser.add_argument("--fresh", action="store_true", help="with --look: as a site without history is served")
    parser.add_argument("--first", action="store_true", help="only what a site without history is served")
    asked = parser.parse_args()
    if asked.look is not None:
        (look_fresh if asked.fresh else look)(asked.look)
        return
    records = read_records(Path(environ["SLOPEWARD_DATA"]) / "timeseries")
    if asked.first:
        kept = dict(read_figures("anomalies-choosing") or {}) | {"without history": judge_first(records)}
        record("anomalies-choosing", "python -m tests.bench.anomaly.bench_choosing", kept)
        return
    if asked.way is not None:
        kept = dict(read_figures("anomalies-choosing") or {})
        at_hand = {name: train_detector("rules", samples, BUDGET, 0).thresholds for name, samples in records.items()}
        ways = {way: TRIED[way] for way in ("served", asked.way)}
        kept["tried"] = dict(kept["tried"]) | judge_tried(records, at_hand, ways)
        record("anomalies-choosing", "python -m tests.bench.anomaly.bench_choosing", kept)
        return
    figures: dict[str, Any] = {}
    wrong: Counter[str] = Counter()
    served: dict[str, Mapping[str, DetectorThreshold]] = {}
    for name, samples in records.items():
        ready = train_detector("rules", samples, BUDGET, 0)
        served[name] = ready.thresholds
        figures[name] = run_bench(samples, ["rules+checks"], BUDGET, SEEDS, {"rules": ready})[0]
        for seed in SEEDS:
            wrong.update(what for what, _, _ in tell_wrong(samples, seed, ready))
        print(name, figures[name]["f1"], figures[name]["false_alarms_per_sensor_month"], flush=True)
    rows = list(figures.values())
    for key in ("f1", "precision", "recall", "false_alarms_per_sensor_month", "recall_at_equal_false_alarms"):
        figures[f"mean {key}"] = round(float(np.mean([row[key] for row in rows])), 4)
    figures["wrong"] = dict(sorted(wrong.items()))
    figures["without history"] = judge_first(records)
    figures["tried"] = judge_tried(records, served, TRIED)
    figures["drifts after a step"] = judge_followed(records, served)
    print(record("anomalies-choosing", "python -m tests.bench.anomaly.bench_choosing", figures))


def look(benchmark: str) -> None:
    """Print what `rules` get wrong on a benchmark, and each false run that its untouched record has as well."""
    samples = read_benchmark(benchmark)
    ready = train_detector("rules", samples, BUDGET, 0)
    wrong = [one for seed in range(3) for one in tell_wrong(samples, seed, ready)]
    print(dict(sorted(Counter(what for what, _, _ in wrong).items())))
    for (station, at_s), count in sorted(Counter((w[1], w[2]) for w in wrong if w[0] == NATURAL).items()):
        print(station, datetime.fromtimestamp(at_s, UTC).date(), count)


def read_benchmark(name: str) -> dict[str, Series]:
    """Series by station of G, K, S or SK."""
    panel = source.read_record(name, source.Recipe()).panel
    columns = zip(panel.stations, panel.values.T.tolist(), strict=True)
    return {name: build_series(panel.times_s.tolist(), values, panel.step_s) for name, values in columns}


def judge_tried(
    records: Mapping[str, Mapping[str, Series]],
    served: Mapping[str, Mapping[str, DetectorThreshold]],
    ways: "Mapping[str, Tried]",
) -> dict[str, Any]:
    """Figures of each way that was tried, and its gain over what is served, record by record."""
    counting = records if any(tried.counts for tried in ways.values()) else {}
    counted = {name: [lay(samples, seed) for seed in COUNTED_SEEDS] for name, samples in counting.items()}
    judged = {name: [lay(samples, seed) for seed in SEEDS] for name, samples in records.items()}
    hidden = {name: [lay(samples, seed, hide=True) for seed in SEEDS] for name, samples in records.items()}
    own = {name: split_budget(samples, VALIDATE_UNTIL, BUDGET, {}) for name, samples in records.items()}
    figures: dict[str, Any] = {}
    first: list[float] = []
    for way, tried in ways.items():
        drawn = {name: {part: one.value for part, one in row.items()} for name, row in served.items()}
        if tried.counts:
            of = {
                japan: count_thresholds([counted[n] for n in records if ("Japan" in n) != japan], tried)
                for japan in (True, False)
            }
            drawn = {
                name: {
                    p: 1.0 / (OWN / (own[name][p].value if p in own[name] else np.inf) + (1.0 - OWN) / limit)
                    for p, limit in of["Japan" in name].items()
                }
                for name in records
            }
        cases = hidden if tried.hides else judged
        rows = [[one.judge(drawn[name], tried) for one in cases[name]] for name in records]
        begun = [[one.judge(drawn[name], tried, begins=True) for one in cases[name]] for name in records]
        f1 = [float(np.mean([one.f1 for one in row])) for row in rows]
        first = first or f1
        gain = np.array(f1) - np.array(first)
        figures[way] = {
            "f1": _mean(rows, "f1"),
            "recall": _mean(rows, "recall"),
            "false_alarms_per_sensor_month": _mean(rows, "false_alarms_per_sensor_month"),
            "f1 where an alarm must begin in the fault": _mean(begun, "f1"),
            "gain": round(float(gain.mean()), 4),
            "gain_error": round(float(gain.std(ddof=1) / np.sqrt(len(gain))), 4),
            "records_better": int((gain > 0).sum()),
        }
        if tried.counts:
            figures[way]["thresholds without Japan"], figures[way]["without Cascadia"] = of[True], of[False]
        print(way, figures[way], flush=True)
    return figures


def _mean(rows: Sequence[Sequence[DetectionOutcome]], key: str) -> float:
    return round(float(np.mean([[getattr(one, key) for one in row] for row in rows])), 4)


@dataclass(frozen=True, slots=True)
class Tried:
    """A way to alarm from the scores of parts.

    Attributes:
        counts: thresholds of other sites are counted anew for it.
        power: parts count together, as the root of the sum of these powers; none: the strongest counts.
        until: an alarm lasts until its score falls below this share of the threshold.
        echoes: what an alarm leaves behind in the parts alarms again.
        hides: readings that are stuck or replayed in truth are missing.
        forgives: a false alarm is dismissed a week after its end, and holds nothing back from then on.
    """

    counts: bool = False
    power: int | None = None
    until: float = 1.0
    echoes: bool = False
    hides: bool = False
    forgives: bool = False


TRIED: Final = {
    "served": Tried(),
    "echoes alarm again": Tried(echoes=True),
    "stuck and replayed readings missing": Tried(hides=True),
    "dismissed alarms have no echo": Tried(forgives=True),
    "counted anew": Tried(counts=True),
    "echoes alarm again, alarms last until 0.5": Tried(echoes=True, until=0.5),
    "echoes alarm again, counted anew, parts count together": Tried(echoes=True, counts=True, power=6),
}


@dataclass(frozen=True, slots=True)
class Laid:
    """A record with faults: the scores of its parts, where sensors are stuck, what checks find, and the truth.

    Tables have a row for each station, in the order of `faulty`.
    """

    faulty: Mapping[str, Series]
    events: list[Event]
    by: Mapping[str, NDArray[np.float64]]
    stuck: NDArray[np.bool_]
    certain: Mapping[str, NDArray[np.bool_]]

    def judge(self, thresholds: Mapping[str, float], tried: Tried, *, begins: bool = False) -> DetectionOutcome:
        """What these thresholds would have done on it; `begins`: of each run its first reading alone counts."""
        if tried.echoes:
            parts = np.nan_to_num([self.by[part] / limit for part, limit in thresholds.items()])
            scores = parts.max(axis=0) if tried.power is None else (parts**tried.power).sum(axis=0) ** (1 / tried.power)
        else:
            finite = {part: limit for part, limit in thresholds.items() if np.isfinite(limit)}
            strongest = StrongestPart(len(self.stuck), next(iter(self.faulty.values())).step_s, finite)
            scores = np.nan_to_num(self._follow(strongest) if tried.forgives else self._feed(strongest, slice(None)))
        alarms = {}
        for (name, certain), score in zip(self.certain.items(), scores, strict=True):
            raised = score > 1.0
            if tried.until < 1.0:
                place = np.arange(len(score))
                on = np.maximum.accumulate(np.where(raised, place, -1))
                off = np.maximum.accumulate(np.where((score > 0) & (score < tried.until), place, -1))
                raised = (on > off) & (score > 0)
            raised |= certain
            if begins:
                cells = np.flatnonzero(raised)
                far = np.diff(self.faulty[name].times_s[cells], prepend=-np.inf) > RUN_GAP_S
                raised = np.isin(np.arange(len(score)), cells[far])
            alarms[name] = raised.astype(np.float64)
        return evaluate_alarms(self.faulty, alarms, self.events, TEST_FROM)

    def _feed(self, strongest: StrongestPart, block: slice) -> NDArray[np.float64]:
        stuck = self.stuck[:, block]
        by = {part: row[:, block] for part, row in self.by.items()}
        return strongest.feed(by, stuck, block.start or 0, stuck.shape[1])[0]

    def _follow(self, strongest: StrongestPart) -> NDArray[np.float64]:
        """Scores where somebody dismisses each false alarm a week after its end; aftermaths are labelled by nobody."""
        rows, cells = self.stuck.shape
        week = round(RUN_GAP_S / next(iter(self.faulty.values())).step_s)
        scores, free = np.full((rows, cells), np.nan), np.full(rows, LONG_AGO)
        for begin in range(0, cells, week):
            scores[:, begin : begin + week] = self._feed(strongest, slice(begin, begin + week))
            for row, name in enumerate(self.faulty):
                over = np.flatnonzero(np.nan_to_num(scores[row, : begin + week]) > 1.0)
                if not over.size or not free[row] < over[-1] <= begin:
                    continue  # nothing new, or it goes on
                run = over[over > over[:-1][np.diff(over) > week][-1]] if (np.diff(over) > week).any() else over
                mine = [e for e in self.events if e.station == name]
                if not any(run[0] <= e.quiet_until and run[-1] >= e.first for e in mine):
                    free[row] = over[-1]
            strongest.forgive(free.copy(), np.full(rows, LONG_AGO))
        return scores


def lay(samples: Mapping[str, Series], seed: int, *, hide: bool = False) -> Laid:
    """Lay faults into a record and score it."""
    faulty, events = inject_many(samples, TEST_FROM, seed)
    seen = {name: series.values.copy() for name, series in faulty.items()}
    for event in events if hide else ():
        if event.kind in {"stuck", "replay"}:
            seen[event.station][event.first : event.last + 1] = np.nan
    return _score(faulty, events, {n: Series(s.times_s, seen[n], s.step_s) for n, s in faulty.items()})


def _score(faulty: Mapping[str, Series], events: list[Event], seen: Mapping[str, Series]) -> Laid:
    names, scored = sorted(faulty), score_record(seen)
    by = {part: np.stack([row[name] for name in names]) for part, row in scored.by.items()}
    in_order = {name: faulty[name] for name in names}
    return Laid(in_order, events, by, scored.stuck, {name: find_certain(series) for name, series in in_order.items()})


def judge_followed(
    records: Mapping[str, Mapping[str, Series]], served: Mapping[str, Mapping[str, DetectorThreshold]]
) -> dict[str, Any]:
    """Of drifts that begin some days after a step at the same station: how many are found, served and with echoes.

    Beside it, how often the same days alarm where the step alone is there.
    """
    figures: dict[str, Any] = {}
    for days in AFTER_DAYS:
        events = 0
        found = {f"{way}{what}": 0 for way in ("served", "echoes alarm again") for what in ("", WITHOUT)}
        for name, samples in records.items():
            limits = {part: one.value for part, one in served[name].items()}
            for seed in SEEDS:
                laid = lay_followed(samples, seed, days)
                alone = lay_followed(samples, seed, days, drifts=False)
                events += len(laid.events)
                for way in ("served", "echoes alarm again"):
                    found[way] += laid.judge(limits, TRIED[way]).found
                    found[way + WITHOUT] += alone.judge(limits, TRIED[way]).found
        figures[f"{days} days"] = {"events": events} | {way: round(count / events, 4) for way, count in found.items()}
    print(figures, flush=True)
    return figures


def lay_followed(samples: Mapping[str, Series], seed: int, days: int, *, drifts: bool = True) -> Laid:
    """A step at each station in turn and a drift some days later, of which the drift alone is an event."""
    rng, faulty, events = np.random.default_rng([seed, 17]), dict(samples), []
    for name in sorted(samples):
        series = samples[name]
        before = int(len(series.values) * TEST_FROM)
        sigma, apart = noise_sigma(series.values[:before]), series.cells(KINDS["drift"][0] + AFTERMATH_DAYS)
        first = before + int(rng.integers(1, len(series.values) - before - 2 * apart))
        series, _ = inject(series, "step", first, sigma, rng)
        drifting, last = inject(series, "drift", first + series.cells(days), sigma, rng)
        faulty[name] = drifting if drifts else series
        events.append(Event(name, "drift", first + series.cells(days), last, last))
    return _score(faulty, events, faulty)


def count_thresholds(
    cases: Sequence[Sequence[Laid]], tried: Tried, begin: Mapping[str, float] = BEGIN, value_of: "Value | None" = None
) -> dict[str, float]:
    """One threshold of each part for all records: changed one after the other as long as their mean F1 grows.

    Another value than F1 may be asked for, and another begin.
    """
    best, value_of = dict(begin), value_of or _value
    most = value_of(cases, best, tried)
    for step in STEPS:
        is_better = True
        while is_better:
            is_better = False
            for part, limit in list(best.items()):
                for factor in (step, 1.0 / step):
                    other = {**best, part: round(limit * factor, 2)}
                    if (value := value_of(cases, other, tried)) > most + 1e-5:
                        best, most, is_better = other, value, True
    return best


Value = Callable[[Sequence[Sequence[Laid]], Mapping[str, float], Tried], float]


def _value(cases: Sequence[Sequence[Laid]], thresholds: Mapping[str, float], tried: Tried) -> float:
    """Mean F1 of records, each less its false alarms beyond `AT_MOST` budgets."""
    values = []
    for trials in cases:
        found = [one.judge(thresholds, tried) for one in trials]
        rate = float(np.mean([one.false_alarms_per_sensor_month for one in found]))
        values.append(float(np.mean([one.f1 for one in found])) - max(0.0, rate - AT_MOST * BUDGET))
    return float(np.mean(values))


def look_fresh(benchmark: str) -> None:
    """Print each fault that a site without history misses: its size, what the slope does meanwhile, and its score."""
    samples, ready = read_benchmark(benchmark), start_without_history("rules", DAY_S)
    limits = {part: one.value for part, one in ready.thresholds.items()}
    for seed in range(3):
        faulty, events = inject_many(samples, TEST_FROM, seed)
        scores = ready.score(faulty, holds=False)
        served = ready.score(faulty)
        for event in events:
            clean, cells = samples[event.station].values, slice(event.first, event.last + 1)
            if (np.nan_to_num(served[event.station][cells]) > ready.limit).any():
                continue
            if find_certain(faulty[event.station])[cells].any():
                continue
            sigma = noise_sigma(clean[: int(len(clean) * TEST_FROM)])
            size = np.nanmax(np.abs(faulty[event.station].values[cells] - clean[cells])) / sigma
            own = np.nanmax(np.abs(clean[cells] - clean[max(0, event.first - 1)])) / sigma
            begin = datetime.fromtimestamp(samples[event.station].times_s[event.first], UTC).date()
            score = np.nanmax(scores[event.station][cells])
            print(seed, event.station, begin, event.kind, f"{size:.1f} noises, own {own:.1f}, score {score:.2f}")
    laid = [lay(samples, seed) for seed in range(3)]
    print("served", _rates(laid, limits))
    print("by thresholds that know the faults", _rates(laid, meet_bar([laid], limits)))


def meet_bar(cases: Sequence[Sequence[Laid]], served: Mapping[str, float]) -> dict[str, float]:
    """Thresholds by which least is lacking of `WANTED` and above the budget; of equals those of the better F1."""

    def lack(cases: Sequence[Sequence[Laid]], thresholds: Mapping[str, float], tried: Tried) -> float:
        rates = [_rates(trials, thresholds) for trials in cases]
        return 0.1 * float(np.mean([rate["f1"] for rate in rates])) - sum(map(_lack, rates))

    return count_thresholds(cases, Tried(), {"drift": BEGIN["drift"]} | dict(served), lack)


def _lack(rate: Mapping[str, float]) -> float:
    return max(0.0, WANTED - rate["recall"]) + DEARER * max(0.0, rate["false_alarms_per_sensor_month"] - BUDGET)


def judge_first(records: Mapping[str, Mapping[str, Series]]) -> dict[str, Any]:
    """What a site without history finds by each of `FIRST`, and what is lacking of `WANTED` and above the budget."""
    judged = {name: [lay(samples, seed) for seed in SEEDS] for name, samples in records.items()}
    figures: dict[str, Any] = {}
    for way, limits in FIRST.items():
        rates = {name: _rates(trials, limits) for name, trials in judged.items()}
        figures[way] = rates | {"lacking in all": round(sum(map(_lack, rates.values())), 4)}
        print(way, figures[way], flush=True)
    return figures


def _rates(cases: Sequence[Laid], thresholds: Mapping[str, float]) -> dict[str, float]:
    found = [[one.judge(thresholds, Tried()) for one in cases]]
    return {key: _mean(found, key) for key in ("recall", "false_alarms_per_sensor_month", "f1")}


def tell_wrong(samples: Mapping[str, Series], seed: int, ready: Detector) -> list[tuple[str, str, float]]:
    """Missed faults and false runs: what, at which station and when; `NATURAL` ones are in the untouched record too."""
    faulty, events = inject_many(samples, TEST_FROM, seed)
    on_faulty, on_clean = ready.score(faulty), ready.score(samples)
    wrong = []
    for name, series in faulty.items():
        mine = [event for event in events if event.station == name]
        raised = np.flatnonzero((np.nan_to_num(on_faulty[name]) > ready.limit) | find_certain(series))
        raised = raised[raised >= int(len(series.values) * TEST_FROM)]
        clean = np.flatnonzero((np.nan_to_num(on_clean[name]) > ready.limit) | find_certain(samples[name]))
        wrong += [
            (f"missed {event.kind}", name, float(series.times_s[event.first]))
            for event in mine
            if not ((raised >= event.first) & (raised <= event.last)).any()
        ]
        for run in np.split(raised, np.flatnonzero(np.diff(series.times_s[raised]) > RUN_GAP_S) + 1):
            alone = {name: np.isin(np.arange(len(series.values)), run).astype(np.float64)}
            outcome = evaluate_alarms({name: series}, alone, mine, TEST_FROM)
            if outcome.runs == outcome.right:
                continue
            before = [event for event in mine if event.first <= run[0] <= event.last + ECHO_DAYS]
            is_natural = any((np.abs(clean - cell) * series.step_s <= RUN_GAP_S).any() for cell in run)
            what = NATURAL if is_natural else f"false after {before[-1].kind}" if before else "false otherwise"
            wrong.append((what, name, float(series.times_s[run[0]])))
    return wrong


def read_records(folder: Path) -> dict[str, dict[str, Series]]:
    """Series by station of each of the ten records; values in mm, one a day."""

    def japan(column: str, begin: str, end: str) -> Table:
        return {path.name[:4]: _read(path, 0, "time", column, begin, end) for path in _list(folder / "gnss-japan-18")}

    def cascadia(column: str, begin: str, end: str) -> Table:
        paths = _list(folder / "gnss-cascadia-pbo-csv")
        found = {path.name[:4]: _read(path, 11, "Date", f"{column} (mm)", begin, end) for path in paths}
        return {name: row for name, row in found.items() if np.isnan(row).mean() < MISSING}

    def slide(read: Read, column: str, begin: str, end: str, skipped: int = 0) -> dict[str, Series]:
        return _lay_on_slide(folder / "outang" / "monitoring_data.csv", read(column, begin, end), skipped)

    years = "2012-01-01", "2016-12-31"
    return {
        "Japan, east": _build(japan("lon", *years), years[0]),
        "Japan, up": _build(japan("ver", *years), years[0]),
        "Cascadia, north": _build(cascadia("North", "2009-01-01", "2013-12-31"), "2009-01-01"),
        "Cascadia, up": _build(cascadia("Vertical", "2009-01-01", "2013-12-31"), "2009-01-01"),
        "Cascadia, north, 2012 on": _build(cascadia("North", *years), years[0]),
        "Outang, noise of Japan east": slide(japan, "lon", "2013-01-01", "2016-12-31"),
        "Outang, noise of others in Japan east": slide(japan, "lon", "2013-01-01", "2016-12-31", 9),
        "Outang, noise of Japan up": slide(japan, "ver", "2013-01-01", "2016-12-31"),
        "Outang, noise of Cascadia north": slide(cascadia, "North", "2009-01-01", "2012-12-31"),
        "Outang, noise of others in Cascadia north": slide(cascadia, "North", "2009-01-01", "2012-12-31", 10),
    }


def _list(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.csv"))


def _read(path: Path, skipped: int, day: str, column: str, begin: str, end: str) -> NDArray[np.float64]:
    """A column from day to day, NaN where there is none; shape (days,)."""
    first = date.fromisoformat(begin)
    out = np.full((date.fromisoformat(end) - first).days + 1, np.nan)
    with path.open(encoding="utf-8-sig") as file:
        for row in csv.DictReader(file.readlines()[skipped:], skipinitialspace=True):
            place = (date.fromisoformat(row[day][:10]) - first).days
            if 0 <= place < len(out) and row[column]:
                out[place] = float(row[column])
    return out


def _build(table: Mapping[str, NDArray[np.float64]], begin: str) -> dict[str, Series]:
    noon = datetime.fromisoformat(begin).replace(hour=12, tzinfo=UTC).timestamp()
    return {
        name: build_series((noon + DAY_S * np.arange(len(v))).tolist(), v.tolist(), DAY_S) for name, v in table.items()
    }


def _lay_on_slide(path: Path, noise: Table, skipped: int) -> dict[str, Series]:
    """The eight points of a landslide with the residuals of as many stations to their own parabola."""
    with path.open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    points = [key for key in rows[0] if key.startswith(("MJ", "ATU"))]
    begin = date.fromisoformat(rows[0]["Date"])
    assert date.fromisoformat(rows[-1]["Date"]) == begin + timedelta(days=len(rows) - 1), "one row a day"
    days, out = np.arange(len(rows)), {}
    for point, name in zip(points, sorted(noise)[skipped : skipped + len(points)], strict=True):
        values = noise[name][: len(rows)]
        known = np.isfinite(values)
        left = values - np.polyval(np.polyfit(days[known], values[known], 2), days)
        out[point.partition("/")[0]] = np.array([float(row[point]) for row in rows]) + left - np.nanmedian(left)
    return _build(out, str(begin))


if __name__ == "__main__":
    main()
