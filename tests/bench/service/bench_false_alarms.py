"""Days at a level that nothing in the ground explains, on every measured record with daily positions.

    python -m tests.bench.service.bench_false_alarms [--label NAME] [RECORD...]

Each record is played through the decision alone. Nothing is declared, and every level falls by itself: a day at a level
is a day on which the decision asked for it. A person answers each question about a step by the next look: "instrument";
in three records of faulty equipment nobody does.
Explained are the days of what a record is known to hold: where the curve itself is above the recovery limit of yellow,
or an earthquake may be voted on. What is asked about such days is answered when they are over.
Another commit: PYTHONPATH=ITS_TREE python tests/bench/service/bench_false_alarms.py --label COMMIT
"""

import argparse
import csv
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import monitor
from monitor.decision.records import Memory
from monitor.readings.records import Observation
from monitor.sites.records import Site
from tests.bench.record import ResultFolder
from tests.data.measured import CASCADIA, OUTANG, measured_site, read_baijiabao, read_cascadia, read_outang, replay
from tests.data.readers.gnss import read_positions
from tests.measured.test_steps_measured import day, make_site

HERE: Final = Path(__file__).resolve()
NAME: Final = "false-alarms"
SERIES: Final = Path(os.environ.get("SLOPEWARD_DATA", HERE.parents[4] / "shared" / "data")) / "timeseries"
LEVELS: Final = ("yellow", "orange", "red")
AFTER: Final = timedelta(days=21)  # the longest window of these bounds, and how long a vote lasts
LAG: Final = timedelta(days=3)  # from an answer to the last look that still counts the question
MOVING_MM: Final = 0.6 * 2.0 * 7.0  # in a week: the recovery limit of yellow of Outang
UNANSWERED: Final = ", unanswered"
NEWEST: Final = timedelta(days=365 * 5)
Days = set[date]
Played = tuple[Site, Sequence[Observation], Days]


def between(from_day: str, to_day: str) -> Days:
    """Both included."""
    first, last = date.fromisoformat(from_day), date.fromisoformat(to_day)
    return {first + timedelta(days=k) for k in range((last - first).days + 1)}


def quake(on: str) -> Days:
    """The day, and the time that its step may be voted on."""
    first = date.fromisoformat(on)
    return between(on, (first + AFTER).isoformat())


TOHOKU: Final = quake("2011-03-11")
KUMAMOTO: Final = quake("2016-04-14") | quake("2016-04-16")
GORKHA: Final = quake("2015-04-25") | quake("2015-05-12")


def outang_moves() -> Days:
    """Days on which the curve of some point, which has no noise, moves faster than the recovery limit, or did so within
    the week of the window and the three days that a vote lasts."""
    curves: dict[str, list[tuple[date, float]]] = {}
    for o in read_outang(SERIES / "outang" / "monitoring_data.csv"):
        if o.station in OUTANG:
            curves.setdefault(o.station, []).append((o.observed_at.date(), o.value))
    moved = {
        at
        for curve in curves.values()
        for (_, old), (at, new) in zip(curve, curve[7:], strict=False)
        if abs(new - old) > MOVING_MM
    }
    return {at + timedelta(days=k) for at in moved for k in range(-6, 11)}


def outang() -> Played:
    """The curves as they are: interpolated, without noise."""
    return measured_site("outang"), read_outang(SERIES / "outang" / "monitoring_data.csv"), outang_moves()


def outang_noisy() -> Played:
    """The same motion under measured noise of GNSS."""
    found = []
    with (SERIES / "benchmarks" / "S.csv").open() as file:
        for row in csv.DictReader(file):
            if row["quantity"] == "displacement_mm" and row["value"]:
                at = datetime.fromisoformat(row["time"])
                found.append(Observation("outang", row["station"], "displacement", "mm", at, at, float(row["value"])))
    return measured_site("outang"), found, outang_moves()


def baijiabao() -> Played:
    """65 mm in June 2018; the window and the votes end ten days later."""
    rows = read_baijiabao(SERIES / "bazimen-baijiabao" / "source_sample.xlsx")
    return measured_site("baijiabao"), rows, between("2018-06-02", "2018-07-18")


def cascadia(from_day: str, to_day: str) -> Played:
    """Twelve stations that do not slide, with outliers to 591 mm, steps of equipment and gaps."""
    rows = read_cascadia(SERIES / "gnss-cascadia-pbo-csv", day(from_day), day(to_day), CASCADIA)
    return measured_site("cascadia"), rows, set()


def positions(paths: Iterable[Path], known: Days) -> Played:
    """Stations on firm ground as one site."""
    found = [o for path in paths for o in read_positions(path, "gnss", day("1990-01-01"), day("2100-01-01"))]
    newest = max(o.observed_at for o in found)
    found = [o for o in found if newest - o.observed_at < NEWEST]
    return make_site(sorted({o.station for o in found})), found, known


def japan(year: str, known: Days) -> Played:
    """Every third station of firm ground, in a year with a large earthquake."""
    found = []
    names = sorted(path.name[:4] for path in (SERIES / "gnss-japan-18").glob("*.csv"))[::3]
    for name in names:
        with (SERIES / "gnss-japan-18" / f"{name}neu9818.csv").open() as file:
            for row in csv.DictReader(file):
                at = datetime.fromisoformat(f"{row['time']}T12:00:00+00:00")
                for column, part in (("lon", "east"), ("lat", "north"), ("ver", "up")):
                    if row[column] and row["time"].startswith(year):
                        value = float(row[column])
                        found.append(Observation("gnss", name, f"displacement_{part}", "mm", at, at, value))
    return make_site(names), found, known


def records() -> Iterator[tuple[str, Callable[[], Played]]]:
    """Name and reader of each."""
    yield "baijiabao", baijiabao
    nepal = sorted((SERIES / "gnss-nepal2015-neu").glob("*.neu"))
    yield f"nepal 2015, {len(nepal)} stations", partial(positions, nepal, GORKHA)
    yield "japan 2011, 6 stations", partial(japan, "2011", TOHOKU)
    yield "japan 2016, 6 stations", partial(japan, "2016", KUMAMOTO)
    yield "outang", outang
    yield "outang under noise", outang_noisy
    formats = SERIES / "gnss-formats"
    for path in sorted([*formats.glob("*.tenv3"), *formats.glob("*.pos"), *formats.glob("*.neu")]):
        yield path.name[:4], partial(positions, (path,), TOHOKU)
    yield "cascadia 2013, 2014", partial(cascadia, "2013-01-01", "2015-01-01")
    yield "cascadia 2015, 2016", partial(cascadia, "2015-01-01", "2017-01-01")
    for name in ("LHAS.tenv3", "QUEM.pos"):
        yield f"{name[:4]}{UNANSWERED}", partial(positions, (formats / name,), set())
    yield f"cascadia 2013, 2014{UNANSWERED}", partial(cascadia, "2013-01-01", "2015-01-01")


def count(name: str) -> dict[str, Any]:
    """Days at each level, of those the unexplained, and the first day of each level in what is known."""
    site, rows, known = dict(records())[name]()
    site = replace(site, levels=tuple(replace(level, auto_lower=True) for level in site.levels))
    highest: dict[date, int] = {}

    def answer(memory: Memory) -> Memory:
        if name.endswith(UNANSWERED):
            return memory
        yesterday = max(highest, default=date(1990, 1, 1))
        asked = {key: date.fromisoformat(key.partition("@")[2][:10]) for key in memory.steps.keys() - memory.answers}
        over = [key for key, at in asked.items() if not {at, max(at, yesterday + LAG)} <= known]
        given = dict.fromkeys(over, "instrument")
        return Memory.read({**memory.to_json(), "answers": {**memory.answers, **given}})

    for now, decision in replay(site, rows, person=answer):
        highest[now.date()] = max(decision.level, highest.get(now.date(), 0))
    days = sorted(highest.items())

    def sort(*, explained: bool) -> dict[str, int]:
        return {n: sum((at in known) is explained and v == k for at, v in days) for k, n in enumerate(LEVELS, 1)}

    risen = {n: [at for at, v in days if at in known and v >= k] for k, n in enumerate(LEVELS, 1)}
    return {
        "days": len(days),
        "unexplained": sort(explained=False),
        "explained": sort(explained=True),
        "first": {n: found[0].isoformat() for n, found in risen.items() if found},
        "unexplained_on": join([at for at, v in days if at not in known and v]),
    }


def join(days: Sequence[date]) -> list[str]:
    """Days in a row as their first and last."""
    rows: list[list[date]] = []
    for at in days:
        if rows and at - rows[-1][-1] == timedelta(days=1):
            rows[-1].append(at)
        else:
            rows.append([at])
    return [f"{row[0]} to {row[-1]}" for row in rows]


def write(value: dict[str, Any]) -> str:
    """Unexplained days and first days of a record, in two cells."""
    first = ", ".join(f"{n} {at}" for n, at in value["first"].items())
    return f"{' / '.join(str(value['unexplained'][n]) for n in LEVELS)} | {first or '-'}"


def tabulate(figures: dict[str, dict[str, Any]]) -> Iterator[str]:
    """A table for people: two columns for each of what is kept."""
    yield "| record | days |" + "".join(f" {label} | known, {label} |" for label in figures)
    yield "|---|---|" + "---|---|" * len(figures)
    for name in next(iter(figures.values())):
        found = [by_record[name] for by_record in figures.values() if name in by_record]
        yield f"| {name} | {found[0]['days']:,} | {' | '.join(map(write, found))} |"
    sums = (
        [str(sum(value["unexplained"][n] for value in by_record.values())) for n in LEVELS]
        for by_record in figures.values()
    )
    yield "| all | |" + "".join(f" {' / '.join(one)} | |" for one in sums)


def main() -> None:
    """Play all records, print the table and keep it."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--label", default="now", help="under what name the figures are kept")
    options.add_argument("--processes", type=int, default=2)
    options.add_argument("names", nargs="*", metavar="RECORD", help="these alone; the others stay as they are kept")
    given = options.parse_args()
    print("as decided by", Path(monitor.__file__).parents[1])
    # PYTHONPATH may name the tree of another commit. The results belong to the tree of this file.
    results = ResultFolder(HERE.parents[3] / "docs" / "benchmarks")
    began, names = time.monotonic(), given.names or [name for name, _ in records()]
    with ProcessPoolExecutor(given.processes, mp_context=get_context("spawn")) as pool:
        for name, value in zip(names, pool.map(count, names), strict=True):
            figures = results.load_figures(NAME) or {}
            figures[given.label] = figures.get(given.label, {}) | {name: value}
            results.store(NAME, "python -m tests.bench.service.bench_false_alarms", figures)
            print(f"{time.monotonic() - began:4.0f} s  {name} | {value['days']} | {write(value)}", flush=True)
    print(*tabulate(figures), sep="\n")


if __name__ == "__main__":
    main()
