"""Failure windows on measured curves of slopes that did not fail. Every such window is false."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from forecasting.kinematics.failure import FailureIssue, FailureSpec, watch_failure
from monitor.errors import NotFoundError
from monitor.features.forecasts.cli.curve_file import DisplacementCurve, read_curve
from monitor.features.forecasts.cli.failure_bench import DAY_S
from monitor.text.instants import epoch_s

MM_PER_DEGREE = 111.6e6  # of latitude at 78 degrees north
INTERVALS = {"": DAY_S, "-6h": DAY_S / 4, "-1h": DAY_S / 24}
OUTANG = ("MJ9", "MJ1", "MJ3", "ATU4", "ATU5", "ATU3", "ATU2", "ATU1")
JAPAN = ("G001", "G008")  # they have all of 2012 to 2014
BOWDOIN = ("B1501", "B1502", "B1601")  # stakes on ice: a metre a day, with tides
CASCADIA = ("BLYN",)
FROM_AT, TO_AT = datetime(2012, 1, 1, tzinfo=UTC), datetime(2015, 1, 1, tzinfo=UTC)


def score_non_failing(data: Path) -> Iterator[dict[str, Any]]:
    """Count the windows of landslides that accelerated without failing, of stable ground and of a glacier."""
    outang = {}
    for name in OUTANG:
        curve = read_curve(find(data, "outang", "monitoring_data.csv"), "displacement", value=f"{name}/mm")
        outang[name] = count_false(_watch(curve.times_s, curve.values, FailureSpec(DAY_S, 1.0)))
    yield {"curves": "non-failing", "set": "outang"} | pool_false(outang) | {"stations": outang}
    stable = {name: count_false(_watch(c.times_s, c.values, FailureSpec(DAY_S, s))) for name, c, s in gnss(data)}
    yield {"curves": "non-failing", "set": "gnss"} | pool_false(stable) | {"stations": stable}
    ice = {}
    for name in BOWDOIN:
        curve = _read_rtklib(find(data, "bowdoin-gnss15min", f"{name}_15min.dat"))
        ice[name] = count_false(_watch(curve.times_s, curve.values, FailureSpec(900.0, 3.0)))
    yield {"curves": "non-failing", "set": "bowdoin, 15 min"} | pool_false(ice) | {"stations": ice}


def _watch(times_s: Sequence[float], values: Sequence[float], spec: FailureSpec) -> list[FailureIssue]:
    return watch_failure(times_s, values, [0.0] * len(times_s), spec)


def gnss(data: Path) -> Iterator[tuple[str, DisplacementCurve, float]]:
    """Yield name, curve and noise (mm) of both horizontal components of stable stations over three years."""
    for station in JAPAN:
        for column in ("lon", "lat"):
            path = find(data, "gnss-japan-18", f"{station}neu9818.csv")
            yield f"{station}.{column}", _cut(read_curve(path, "displacement", value=column)), 2.0
    for station in CASCADIA:
        path = find(data, "gnss-cascadia-pbo-csv", f"{station}.pbo.nam08.csv")
        for place, column in ((2, "east"), (1, "north")):
            yield f"{station}.{column}", _cut(_read_pbo(path, place)), 1.0


def find(data: Path, *parts: str) -> Path:
    """Return the path of a file of the measured series. Raise NotFoundError if it does not exist."""
    path = data.joinpath("timeseries", *parts)
    if not path.is_file():
        raise NotFoundError(f"{path} does not exist; set SLOPEWARD_DATA to the folder of the measured records")
    return path


def _read_pbo(path: Path, place: int) -> DisplacementCurve:
    times_s, values = [], []
    with path.open(encoding="utf-8") as file:
        for row in csv.reader(file):
            if len(row) >= 7 and row[0][:4].isdigit() and row[0][4:5] == "-":
                times_s.append(epoch_s(datetime.fromisoformat(row[0]).replace(tzinfo=UTC)))
                values.append(float(row[place]))
    return DisplacementCurve(times_s, values, path.stem, ())


def _read_rtklib(path: Path) -> DisplacementCurve:
    """Read the southward motion of an RTKLIB solution, in mm. Repeated epochs are left out."""
    times_s, values = [0.0], [0.0]
    for line in path.read_text(encoding="utf-8").splitlines():
        words = line.split()
        at = datetime.strptime(f"{words[0]} {words[1][:8]}", "%Y/%m/%d %H:%M:%S").replace(tzinfo=UTC)
        if epoch_s(at) > times_s[-1]:
            times_s.append(epoch_s(at))
            values.append(-float(words[2]) * MM_PER_DEGREE)
    return DisplacementCurve(times_s[1:], [v - values[1] for v in values[1:]], path.stem, ())


def _cut(curve: DisplacementCurve) -> DisplacementCurve:
    from_s, to_s = epoch_s(FROM_AT), epoch_s(TO_AT)
    kept = [(t, v) for t, v in zip(curve.times_s, curve.values, strict=True) if from_s <= t < to_s]
    return DisplacementCurve([t for t, _ in kept], [v for _, v in kept], curve.column, curve.notes)


def count_false(issues: Sequence[FailureIssue]) -> dict[str, Any]:
    """Count the windows of a curve: issues with a window, trusted windows, runs of trusted windows, withdrawals."""
    trusted = [x.trusted for x in issues]
    return {
        "issues": len(issues),
        "windows": sum(x.from_s is not None for x in issues),
        "trusted": trusted.count(True),
        "trusted_share": round(trusted.count(True) / max(1, len(trusted)), 4),
        "runs": sum(1 for before, now in zip([False, *trusted], trusted, strict=False) if now and not before),
        "withdrawn": sum(x.withdrawn is not None for x in issues),
    }


def pool_false(counts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Add the counts of several curves."""
    total = {k: sum(int(c[k]) for c in counts.values()) for k in ("issues", "windows", "trusted", "runs", "withdrawn")}
    return {"series": len(counts)} | total | {"trusted_share": round(total["trusted"] / max(1, total["issues"]), 4)}
