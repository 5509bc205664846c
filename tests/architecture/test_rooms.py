"""The figures of the house in `docs/architecture.md` are those of its imports."""

import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[2]
FIGURE = r"\| (\d+) \(\d+\) "
TABLE = re.compile(r"^\| (whole|`[a-z.]+`)[^|]*" + 4 * FIGURE, re.MULTILINE)
TEXT = (ROOT / "docs/architecture.md").read_text()
SHEETS = {name.strip("`"): tuple(map(int, figures)) for name, *figures in TABLE.findall(TEXT)}


@pytest.fixture(scope="module")
def imports():
    """Pairs of modules of which the first imports the second."""
    graph = grimp.build_graph("monitor", "forecasting", "detection")
    return [(one, other) for one in graph.modules for other in graph.find_modules_directly_imported_by(one)]


def room_of(sheet: str, module: str) -> str | None:
    """The room that a module stands in on a sheet; None where it stands in none."""
    parts = module.split(".")
    if sheet == "whole":
        return parts[0] if parts[0] != "monitor" else ".".join(parts[:2]) if len(parts) > 1 else None
    depth = sheet.count(".") + 1
    return ".".join(parts[: depth + 1]) if module.startswith(f"{sheet}.") else None


def test_all_sheets_are_counted():
    assert set(SHEETS) == {"whole", "monitor.alerting", "forecasting", "detection.imagery"}


@pytest.mark.parametrize("sheet", SHEETS)
def test_the_figures_of_the_house_are_true(imports, sheet):
    arrows = {(room_of(sheet, one), room_of(sheet, other)) for one, other in imports}
    arrows = {(one, other) for one, other in arrows if one and other and one != other}
    rooms = {room_of(sheet, module) for pair in imports for module in pair} - {None}
    below = defaultdict(set)
    for one, other in arrows:
        below[one].add(other)

    @cache
    def floor(room):  # a circle would never end: RecursionError
        return 1 + max(map(floor, below[room]), default=0)

    told_rooms, told_floors, told_arrows, told_circles = SHEETS[sheet]
    assert told_circles == 0
    assert (len(rooms), max(map(floor, rooms))) == (told_rooms, told_floors)
    assert len(arrows) <= told_arrows, "say why in docs/architecture.md, or take another way"
