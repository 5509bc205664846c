"""Store the recording of levels, alerts, forecasts and image outlines, or compare the current results with it."""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import groupby, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from monitor.worker.compute import ONE_THREAD
from tests.recording.compare import FITTED, TOLERANCE, Difference, compare, encode, read_accepted

HERE: Final = Path(__file__).parent
KEPT: Final = HERE / "kept"
SHOWN: Final = 3  # printed differences of each record
LONG_TEXT: Final = 12
LONG: Final = ("drill", "live", "forecasts-drawn", "motion-egms")  # records that take longest, so they start first


def nest(columns: dict[str, str]) -> dict[str, Any]:
    """Nest the columns by the parts of their paths. Replace a repeated long text by the number of its first use."""
    nested: dict[str, Any] = {}
    before: dict[str, int] = {}
    for path, text in sorted(columns.items(), key=lambda item: item[0].split("/")):
        *folders, name = path.split("/")
        place = nested
        for folder in folders:
            place = place.setdefault(folder, {})
        place[name] = before.get(text, text)
        if len(text) > LONG_TEXT:
            before.setdefault(text, len(before))
    return nested


def unnest(value: dict[str, Any]) -> dict[str, str]:
    """Return the columns of a nested recording. Reverses `nest`."""
    columns: dict[str, str] = {}
    before: list[str] = []

    def walk(inner: dict[str, Any], path: str) -> None:
        for key, item in inner.items():
            if isinstance(item, dict):
                walk(item, f"{path}{key}/")
            elif isinstance(item, int):
                columns[f"{path}{key}"] = before[item]
            else:
                columns[f"{path}{key}"] = item
                before.extend([item] if len(item) > LONG_TEXT else [])

    walk(value, "")
    return columns


def replay(name: str, check: bool) -> list[Difference]:
    """Replay one record in this process. Store it, or return its differences from the stored one."""
    from tests.recording.sources import SOURCES

    rows = list(SOURCES[name]())
    path = KEPT / f"{name}.json"
    if not check:
        lines = [f"{json.dumps(key)}:{json.dumps(v, separators=(',', ':'))}" for key, v in nest(encode(rows)).items()]
        path.write_text("{" + ",\n".join(lines) + "}\n", encoding="utf-8")
        return []
    stored = unnest(json.loads(path.read_text(encoding="utf-8")))
    return list(compare(name, stored, rows, FITTED if name.startswith("forecasts-") else TOLERANCE))


def replay_all(names: Iterable[str], check: bool) -> list[Difference]:
    """Replay all records, two at a time, and print a line for each."""
    differences, started_s = [], time.monotonic()
    ordered = sorted(names, key=lambda n: n not in LONG)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(replay, name, check): name for name in ordered}
        for done, future in enumerate(as_completed(waiting), 1):
            name, error = waiting[future], future.exception()
            mine = [Difference(name, "-", 0.0, "record", "", f"not replayed: {error!r}")] if error else future.result()
            differences += mine
            outcome = f"{len(mine)} figures differ" if mine else "equal" if check else "written"
            print(f"{done:3}/{len(waiting)} {time.monotonic() - started_s:4.0f} s  {name}: {outcome}", flush=True)
    return differences


def main() -> int:
    """Store or compare the recording. Return 1 if a difference is not accepted, or an accepted one does not occur."""
    from tests.recording.sources import SOURCES

    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--check", action="store_true")
    options.add_argument("names", nargs="*", metavar="NAME", choices=[[], *SOURCES])
    given = options.parse_args()
    os.environ.update(ONE_THREAD)
    KEPT.mkdir(exist_ok=True)
    differences = replay_all(given.names or SOURCES, given.check)
    if not given.names:
        gone = {p.stem for p in KEPT.glob("*.json")} - SOURCES.keys()
        differences += [Difference(name, "-", 0.0, "record", "kept", "no source") for name in sorted(gone)]
    accepted = read_accepted((HERE / "accepted.txt").read_text(encoding="utf-8"))
    open_ = [d for d in differences if not any(line.covers(d) for line in accepted)]
    idle = [line for line in accepted if given.check and not given.names and not any(map(line.covers, differences))]
    for _, mine in groupby(open_, key=lambda d: d.record):
        print(*islice(mine, SHOWN), sep="\n")
    for line in idle:
        print(f"accepted.txt: {line.record} | {line.figure}: nothing differs there, take the line out")
    print(f"{len(open_)} figures differ, {len(differences) - len(open_)} by {len(accepted)} accepted lines")
    return 1 if open_ or idle else 0


if __name__ == "__main__":
    sys.exit(main())
