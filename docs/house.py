"""The house in figures: what `make house` prints beside the targets, and what `docs/architecture.md` shows.

python docs/house.py                  # the table
python docs/house.py --write          # also into docs/architecture.md
python docs/house.py --json           # one line, to be kept and laid beside a later tree
python docs/house.py --before FILE    # such a line as one more column
"""

import argparse
import ast
import contextlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final, NamedTuple

import grimp

ROOT: Final = Path(__file__).resolve().parents[1]
PACKAGES: Final = ("monitor", "forecasting", "detection")
PAGE: Final = ROOT / "docs" / "architecture.md"
BEGIN: Final = "<!-- written by make house HOUSE_FLAGS=--write -->"
END: Final = "<!-- end of what make house wrote -->"
FOR_USERS: Final = ("README.md", "docs/tutorial/", "docs/how-to/", "docs/reference/")
SKIP: Final = re.compile(r"[ \t]*# fmt: skip.*$", re.MULTILINE)
RECORDS_OF_ANYTHING: Final = re.compile(r"(?:dict|Mapping)\[str, Any\]")
FORMAT: Final = re.compile(r"^FORMAT: Final = (\d+)\b", re.MULTILINE)
COMPLEX: Final = 20
MANY_PARAMETERS: Final = 8
TARGETS: Final = (  # the figures of a row, its target
    ("product lines, as the formatter leaves them", ("product_lines",), "<= 140,000"),
    ("lines more without `# fmt: skip`", ("hidden_lines",), "in those above"),
    ("test lines", ("test_lines",), "<= 80,000"),
    ("words in documents / of them for users", ("words", "words_for_users"), "<= 110,000 / <= 60,000"),
    ("migrations / format of frozen inputs", ("migrations", "formats"), "1 / 1"),
    (
        "whole sheet: rooms / floors / arrows / up / circles",
        ("rooms", "floors", "arrows", "up", "circles"),
        "<= 20 / 9 / <= 110 / 0 / 0",
    ),
    (
        f"functions over complexity {COMPLEX} / the highest",
        ("complex_functions", "highest_complexity"),
        "<= 30 / <= 30",
    ),
    ("`# fmt: skip`", ("fmt_skip",), "<= 100"),
    (f"functions with more than {MANY_PARAMETERS} parameters", ("long_signatures",), "<= 30"),
    ("signatures with `dict[str, Any]` or `Mapping[str, Any]`", ("signatures_of_anything",), "<= 400"),
    ("class names that stand in two or more files", ("class_names_twice",), "<= 10"),
)

Function = ast.FunctionDef | ast.AsyncFunctionDef
Arrows = set[tuple[str, str]]


class Sheet(NamedTuple):
    """A house seen from one height."""

    rooms: int
    floors: int
    arrows: int
    circles: int


def count_branches(node: ast.AST) -> int:
    """Ways that part at a node and below it, as radon counts them; functions inside count for themselves."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return 0
        case ast.Assert():
            return 1
        case ast.Try():
            own = len(node.handlers) + bool(node.orelse)
        case ast.BoolOp():
            own = len(node.values) - 1
        case ast.If() | ast.IfExp():
            own = 1
        case ast.Match():
            others = any(isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None for case in node.cases)
            own = len(node.cases) - others
        case ast.For() | ast.AsyncFor() | ast.While():
            own = 1 + bool(node.orelse)
        case ast.comprehension():
            own = 1 + len(node.ifs)
        case _:
            own = 0
    return own + sum(map(count_branches, ast.iter_child_nodes(node)))


def count_complexity(function: Function) -> int:
    """McCabe's figure of a function, without those inside it."""
    return 1 + sum(map(count_branches, function.body))


def list_functions(trees: Iterable[ast.AST]) -> Iterator[Function]:
    """Every function, method and closure."""
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node


def count_parameters(function: Function) -> int:
    """Parameters by name; the object or class of a method is none."""
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return sum(one.arg not in ("self", "cls") for one in arguments)


def holds_anything(function: Function) -> bool:
    """Whether a signature has a record whose keys nobody declared."""
    returns = ast.unparse(function.returns) if function.returns else ""
    return RECORDS_OF_ANYTHING.search(f"{ast.unparse(function.args)} {returns}") is not None


def count_names_twice(trees: Iterable[ast.AST]) -> int:
    """Public class names that stand in two or more files."""
    files: defaultdict[str, int] = defaultdict(int)
    for tree in trees:
        names = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
        for name in names:
            files[name] += not name.startswith("_")
    return sum(number > 1 for number in files.values())


def count_lines(folders: Iterable[Path]) -> int:
    """Lines of Python below folders."""
    return sum(path.read_text().count("\n") for folder in folders for path in folder.rglob("*.py"))


def count_hidden_lines(folders: Iterable[Path], settings: Path) -> int:
    """How many lines more the formatter would leave without `# fmt: skip`."""
    with tempfile.TemporaryDirectory() as place:
        shutil.copy(settings, place)
        hidden = 0
        for folder in folders:
            for path in folder.rglob("*.py"):
                text = path.read_text()
                if SKIP.search(text):
                    copy = Path(place) / folder.name / path.relative_to(folder)
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    copy.write_text(SKIP.sub("", text))
                    hidden -= text.count("\n")
        subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", "--no-cache", place], check=True)
        return hidden + count_lines([Path(place)])


def read_imports() -> list[tuple[str, str]]:
    """Pairs of modules of which the first imports the second."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    return [(one, other) for one in graph.modules for other in graph.find_modules_directly_imported_by(one)]


def find_room(sheet: str, module: str) -> str | None:
    """The room that a module stands in on a sheet; None where it stands in none."""
    parts = module.split(".")
    if sheet == "whole":
        return parts[0] if parts[0] != "monitor" else ".".join(parts[:2]) if len(parts) > 1 else None
    depth = sheet.count(".") + 1
    return ".".join(parts[: depth + 1]) if module.startswith(f"{sheet}.") else None


def draw_sheet(sheet: str, imports: Iterable[tuple[str, str]]) -> tuple[set[str], Arrows]:
    """Rooms of a sheet, and which imports which."""
    pairs = [(find_room(sheet, one), find_room(sheet, other)) for one, other in imports]
    rooms = {room for pair in pairs for room in pair if room}
    return rooms, {(one, other) for one, other in pairs if one and other and one != other}


def count_sheet(rooms: set[str], arrows: Arrows) -> Sheet:
    """The figures of a sheet: a room stands one floor above the highest that it imports."""
    below = {room: {other for one, other in arrows if one == room} for room in rooms}
    reach = {room: set(others) for room, others in below.items()}
    for middle in rooms:
        for room in rooms:
            reach[room] |= reach[middle] if middle in reach[room] else set()
    circles = {frozenset(other for other in reach[room] if room in reach[other]) for room in rooms} - {frozenset()}
    order, floors = TopologicalSorter(below), 0
    with contextlib.suppress(CycleError):  # the floors below a circle are counted
        order.prepare()
    while ready := order.get_ready():
        floors += 1
        order.done(*ready)
    return Sheet(len(rooms), floors, len(arrows), len(circles))


def count_up(arrows: Arrows, layers: list[str]) -> int:
    """Arrows against the law of imports, whose layers stand with the highest first."""
    height = {room: -row for row, layer in enumerate(layers) for room in re.split(r" [|:] ", layer)}
    return sum(height[one] < height[other] for one, other in arrows)


def count_house() -> dict[str, int]:
    """Every figure, in the order of the table."""
    packages = [ROOT / name for name in PACKAGES]
    texts = [path.read_text() for folder in packages for path in folder.rglob("*.py")]
    trees = [ast.parse(text) for text in texts]
    functions = list(list_functions(trees))
    complexities = list(map(count_complexity, functions))
    words = {
        path.relative_to(ROOT).as_posix(): len(path.read_text().split())
        for place in (ROOT.glob("*.md"), *((ROOT / name).rglob("*.md") for name in ("docs", *PACKAGES)))
        for path in place
    }
    settings = ROOT / "pyproject.toml"
    contracts = tomllib.loads(settings.read_text())["tool"]["importlinter"]["contracts"]
    layers = next(one["layers"] for one in contracts if one["type"] == "layers")
    rooms, arrows = draw_sheet("whole", read_imports())
    sheet = count_sheet(rooms, arrows)
    frozen = (ROOT / "monitor/alerting/evaluate.py").read_text()
    return {
        "product_lines": count_lines(packages),
        "hidden_lines": count_hidden_lines(packages, settings),
        "test_lines": count_lines([ROOT / "tests"]),
        "words": sum(words.values()),
        "words_for_users": sum(number for name, number in words.items() if name.startswith(FOR_USERS)),
        "migrations": len(list((ROOT / "alembic/versions").glob("*.py"))),
        "formats": int(next(FORMAT.finditer(frozen))[1]),
        **sheet._asdict(),
        "up": count_up(arrows, layers),
        "complex_functions": sum(number > COMPLEX for number in complexities),
        "highest_complexity": max(complexities),
        "fmt_skip": sum(len(SKIP.findall(text)) for text in texts),
        "long_signatures": sum(count_parameters(one) > MANY_PARAMETERS for one in functions),
        "signatures_of_anything": sum(map(holds_anything, functions)),
        "class_names_twice": count_names_twice(trees),
    }


def draw_table(figures: dict[str, dict[str, int]]) -> str:
    """Columns of figures by title beside the targets, as Markdown."""
    rows = [("measure", *figures, "target")]
    for measure, keys, target in TARGETS:
        rows.append((measure, *(" / ".join(f"{one[key]:,}" for key in keys) for one in figures.values()), target))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def replace_block(text: str, table: str) -> str:
    """A document with another table between the marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"


def main() -> None:
    """Count, and print or write."""
    parser = argparse.ArgumentParser(description="The house in figures")
    parser.add_argument("--write", action="store_true", help=f"also into {PAGE.relative_to(ROOT)}")
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of the table")
    parser.add_argument("--before", type=Path, metavar="FILE", help="figures of an earlier tree, as --json gave them")
    chosen = parser.parse_args()
    now = count_house()
    before = {"before": json.loads(chosen.before.read_text())} if chosen.before else {}
    print(json.dumps(now) if chosen.json else draw_table({**before, "now": now}))
    if chosen.write:
        PAGE.write_text(replace_block(PAGE.read_text(), draw_table({"now": now})))


if __name__ == "__main__":
    main()
