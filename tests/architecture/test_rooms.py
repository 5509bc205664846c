"""The figures of the house: those of its imports in `docs/architecture.md`, and how `make house` counts."""

import ast
import re
import shutil
from pathlib import Path

import pytest

from docs import house

ROOT = Path(__file__).resolve().parents[2]
FIGURE = r"\| (\d+) "
TABLE = re.compile(r"^\| (whole|`[a-z.]+`)[^|]*" + 4 * FIGURE, re.MULTILINE)
TEXT = (ROOT / "docs/architecture.md").read_text()
SHEETS = {name.strip("`"): tuple(map(int, figures)) for name, *figures in TABLE.findall(TEXT)}
BRANCHES = """
def outer(rows):
    assert rows if rows else True
    def inner():
        return 1 if rows and rows[0] else 2
    try:
        while rows:
            rows = [x for x in rows if x if x > 1]
        else:
            rows = 1
    except ValueError:
        pass
    else:
        match rows:
            case 1: pass
            case 2: pass
            case _: pass
    with open(rows) as file:
        return lambda: file or rows or 1
"""


@pytest.fixture(scope="module")
def imports():
    return house.read_imports()


def test_all_sheets_are_counted():
    assert set(SHEETS) == {"whole", "monitor.alerting", "monitor.decision", "forecasting", "detection.imagery"}


@pytest.mark.parametrize("sheet", SHEETS)
def test_the_figures_of_the_house_are_true(imports, sheet):
    found = house.count_sheet(*house.draw_sheet(sheet, imports))
    rooms, floors, arrows, circles = SHEETS[sheet]
    assert (found.rooms, found.floors, found.circles) == (rooms, floors, circles) == (rooms, floors, 0)
    assert found.arrows <= arrows, "say why in docs/architecture.md, or take another way"


def test_a_circle_and_an_arrow_up_are_counted():
    arrows = {("a", "b"), ("b", "c"), ("c", "d"), ("d", "c"), ("a", "e"), ("e", "a"), ("a", "f")}
    assert house.count_sheet(set("abcdef"), arrows) == (6, 1, 7, 2)
    assert house.count_sheet(set("abc"), {("a", "b"), ("b", "c"), ("a", "c")}) == (3, 3, 3, 0)
    assert house.count_up(arrows, ["a", "b | e", "c : d", "f"]) == 1


def test_complexity_is_that_of_radon():
    counted = {one.name: house.count_complexity(one) for one in house.list_functions([ast.parse(BRANCHES)])}
    assert counted == {"outer": 13, "inner": 3}  # radon 6.0.1 agrees


def test_parameters_and_records_without_declared_keys():
    code = """
class A:
    def many(self, a, b, /, c, d, *rest, e, f, g, h, i): ...
    def few(self, a: dict[str, int]) -> list[str]: ...
async def one() -> list[dict[str, Any]]: ...
def two(a: Mapping[str, Any] | None, **more): ...
"""
    found = {
        f.name: (house.count_parameters(f), house.holds_anything(f)) for f in house.list_functions([ast.parse(code)])
    }
    assert found == {"many": (9, False), "few": (1, False), "one": (0, True), "two": (1, True)}


def test_a_class_name_counts_once_however_many_files_bear_it():
    files = ["class A: ...\nclass _B: ...\nclass C: ...\nclass C: ...", "class A: ...\nclass _B: ...", "class A: ..."]
    assert house.count_names_twice(map(ast.parse, files)) == 1


def test_lines_that_the_formatter_would_add(tmp_path):
    (tmp_path / "room").mkdir()
    (tmp_path / "room/hidden.py").write_text("A = [\n    1, 2,\n    3,\n]  # fmt: skip\n")
    (tmp_path / "room/open.py").write_text("B = [1]\n")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    assert house.count_lines([tmp_path / "room"]) == 5
    assert house.count_hidden_lines([tmp_path / "room"], tmp_path / "pyproject.toml") == 1


def test_the_table_shows_every_figure_beside_its_target_and_takes_the_place_of_the_last():
    figures = {key: number for number, (_, keys, _) in enumerate(house.TARGETS) for key in keys}
    table = house.draw_table({"before": figures, "now": {**figures, "words": 1234}})
    words = next(line for line in table.splitlines() if line.startswith("| words"))
    assert [cell.strip() for cell in words.split("|")[2:5]] == ["3 / 3", "1,234 / 3", "<= 110,000 / <= 60,000"]
    once = house.replace_block(f"a\n{house.BEGIN}\nold\n{house.END}\nb", table)
    assert "old" not in once
    assert once == house.replace_block(once, table)
    assert house.BEGIN in TEXT.split(house.END)[0]
