"""Audit the rows of a long CSV for flagged, missing, repeated and implausible values, which a panel does not show."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from forecasting.data.series import find_flagged, read_long_table, read_scales
from forecasting.evaluation.scoring import format_horizon
from forecasting.evaluation.screening import Finding

if TYPE_CHECKING:
    import pandas as pd

# Largest plausible displacement, a kilometre.
MOST_MM: Final = 1e6
# Rows that a finding names.
_SHOWN: Final = 5


def audit_rows(path: Path, horizons_s: Sequence[float]) -> list[Finding]:
    """Return findings about rows, with their lines and values.

    The codes are `flagged`, `no_number`, `doubled_row` and `implausible_value`. Of rows with the same time, the last is
    used. A row without a number is left out, and an empty value is a gap without a finding. With a displacement beyond
    1 km, no horizon may be scored. The station of other quantities than displacement is written `station.quantity`.
    """
    import pandas as pd

    # blank lines are kept, so that the number of a row gives its line
    frame = read_long_table(path, dtype=str, keep_default_na=False, skip_blank_lines=False)
    frame["line"] = range(2, len(frame) + 2)
    frame = frame[frame["station"].fillna("") != ""]
    frame["value"] = frame["value"].fillna("").str.strip()
    frame["number"] = pd.to_numeric(frame["value"], errors="coerce")
    frame["instant"] = pd.to_datetime(frame["time"], utc=True, format="ISO8601", errors="coerce")
    findings: list[Finding] = []
    for (station, quantity), series_rows in frame.groupby(["station", "quantity"]):
        is_displacement = str(quantity).startswith("displacement")
        name = str(station) if is_displacement else f"{station}.{quantity}"
        is_flagged = find_flagged(series_rows)
        rows = series_rows[~is_flagged]
        findings += _report(name, "flagged", "readings are flagged and left out", series_rows[is_flagged], "flags")
        is_number = rows["number"].between(float("-inf"), float("inf"), inclusive="neither")
        without_number = rows.assign(shown=rows["value"].map(repr))[(rows["value"] != "") & ~is_number]
        findings += _report(name, "no_number", "values are no number and left out", without_number, "shown")
        findings += _find_repeated_times(name, rows)
        if is_displacement:
            size_mm = rows["number"].abs() * read_scales(rows, str(quantity))
            implausible = rows[size_mm.between(MOST_MM, float("inf"), inclusive="neither")]
            text = f"displacements beyond {MOST_MM:g} mm are implausible"
            refused = tuple(format_horizon(h) for h in horizons_s)
            findings += _report(name, "implausible_value", text, implausible, "value", refused)
    return findings


def _report(
    name: str, code: str, text: str, rows: "pd.DataFrame", column: str, refused: tuple[str, ...] = ()
) -> list[Finding]:
    """Return a finding that names the first rows with the value of a column; none without rows."""
    if rows.empty:
        return []
    cells = zip(rows["line"], rows["time"], rows[column], strict=True)
    examples = [f"line {line} ({time}): {value}" for line, time, value in cells]
    return [Finding(name, code, f"{len(rows)} {text}: {_join_examples(examples)}", refused)]


def _find_repeated_times(name: str, rows: "pd.DataFrame") -> list[Finding]:
    first_rows: dict[Any, tuple[int, str, float]] = {}
    examples = []
    known = rows[rows["instant"].notna() & rows["number"].notna()]
    columns = (known[column] for column in ("instant", "time", "line", "value", "number"))
    for instant, time, line, value, number in zip(*columns, strict=True):
        if instant not in first_rows:
            first_rows[instant] = (line, value, number)
            continue
        first_line, first_value, first_number = first_rows[instant]
        difference = "" if first_number == number else f", there {first_value}"
        examples.append(f"line {line} ({time}): {value} (as line {first_line}{difference})")
    if not examples:
        return []
    text = f"{len(examples)} rows repeat a time, the last of each is used: {_join_examples(examples)}"
    return [Finding(name, "doubled_row", text)]


def _join_examples(examples: Sequence[str]) -> str:
    more = f" and {len(examples) - _SHOWN} more" if len(examples) > _SHOWN else ""
    return "; ".join(examples[:_SHOWN]) + more
