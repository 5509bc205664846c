"""Looks at the rows of a long CSV itself: a panel no longer shows what was left out, doubled or cannot be meant."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from forecasting.data.series import find_flagged, read_long_table, read_scales
from forecasting.evaluation.scoring import format_horizon
from forecasting.evaluation.screening import Finding

if TYPE_CHECKING:
    import pandas as pd

MOST_MM: Final = 1e6  # a kilometre: no instrument on a slope follows it so far
_SHOWN: Final = 5


def audit_rows(path: Path, horizons_s: Sequence[float]) -> list[Finding]:
    """Rows without a number, doubled rows and displacements that cannot be meant, each by line and value.

    A row that repeats a time is used as the last of its kind; a row without a number is left out; an empty value is a
    gap and no finding. A displacement beyond 1 km refuses every horizon: no score on such a record means anything.
    Returns findings with the codes `flagged`, `no_number`, `doubled_row` and `implausible_value`; the station of a
    quantity that is no displacement is written `station.quantity`.
    """
    import pandas as pd

    # blank lines stay, so that a row's place is its line
    frame = read_long_table(path, dtype=str, keep_default_na=False, skip_blank_lines=False)
    frame["line"] = range(2, len(frame) + 2)
    frame = frame[frame["station"].fillna("") != ""]
    frame["value"] = frame["value"].fillna("").str.strip()
    frame["number"] = pd.to_numeric(frame["value"], errors="coerce")
    frame["at"] = pd.to_datetime(frame["time"], utc=True, format="ISO8601", errors="coerce")
    found: list[Finding] = []
    for (station, quantity), every in frame.groupby(["station", "quantity"]):
        moves = str(quantity).startswith("displacement")
        name = str(station) if moves else f"{station}.{quantity}"
        flagged = find_flagged(every)
        bad, rows = every[flagged], every[~flagged]
        found += _report(name, "flagged", "readings bear a flag and are left out", bad, "flags")
        is_number = rows["number"].between(float("-inf"), float("inf"), inclusive="neither")
        bad = rows.assign(shown=rows["value"].map(repr))[(rows["value"] != "") & ~is_number]
        found += _report(name, "no_number", "values are no number and left out", bad, "shown")
        found += _find_doubles(name, rows)
        if moves:
            in_mm = rows["number"].abs() * read_scales(rows, str(quantity))
            bad = rows[in_mm.between(MOST_MM, float("inf"), inclusive="neither")]
            text = f"displacements beyond {MOST_MM:g} mm cannot be meant"
            found += _report(name, "implausible_value", text, bad, "value", tuple(map(format_horizon, horizons_s)))
    return found


def _report(
    name: str, code: str, text: str, bad: "pd.DataFrame", column: str, refused: tuple[str, ...] = ()
) -> list[Finding]:
    if bad.empty:
        return []
    rows = [
        f"line {line} ({time}): {one}" for line, time, one in zip(bad["line"], bad["time"], bad[column], strict=True)
    ]
    return [Finding(name, code, f"{len(bad)} {text}: {_list(rows)}", refused)]


def _find_doubles(name: str, rows: "pd.DataFrame") -> list[Finding]:
    first: dict[Any, tuple[int, str, float]] = {}
    again = []
    known = rows[rows["at"].notna() & rows["number"].notna()]
    columns = (known[name] for name in ("at", "time", "line", "value", "number"))
    for at, time, line, value, number in zip(*columns, strict=True):
        if at in first:
            before = first[at]
            differs = "" if before[2] == number else f", there {before[1]}"
            again.append(f"line {line} ({time}): {value} (as line {before[0]}{differs})")
        else:
            first[at] = (line, value, number)
    if not again:
        return []
    text = f"{len(again)} rows repeat a time, the last of each is used: {_list(again)}"
    return [Finding(name, "doubled_row", text)]


def _list(words: Sequence[str]) -> str:
    more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    return "; ".join(words[:_SHOWN]) + more
