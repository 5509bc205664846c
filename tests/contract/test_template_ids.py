"""Each id of a message template is defined in one place."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from monitor.app.checks.table import list_checks

ROOT = Path(__file__).parents[2]
PACKAGES = ("monitor", "detection", "forecasting", "packages")


def list_template_ids(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the id and the line number of each `Template("id", "text")` in a module.

    A template whose id is computed is left out.
    """
    source = path.read_text(encoding="utf-8")
    # Most modules define no template. Parsing them as well would take several seconds.
    if "Template(" not in source:
        return
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        is_template = isinstance(node.func, ast.Name) and node.func.id == "Template"
        template_id = node.args[0]
        if is_template and isinstance(template_id, ast.Constant) and isinstance(template_id.value, str):
            yield template_id.value, node.lineno


def collect_definitions(modules: list[Path]) -> dict[str, list[str]]:
    """Return the places that define each id, as `path:line`."""
    definitions: dict[str, list[str]] = defaultdict(list)
    for path in modules:
        for template_id, line in list_template_ids(path):
            definitions[template_id].append(f"{path}:{line}")
    return definitions


def test_every_template_id_is_defined_once() -> None:
    modules = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    definitions = collect_definitions(modules)
    # A check turns its texts into templates. Their ids come from its id, and equal texts of a check share an id.
    for check in list_checks():
        for template_id in {template.id for template in check.templates.values()}:
            definitions[template_id].append(f"check {check.id}")
    assert len(definitions) > 1000
    assert {template_id: places for template_id, places in definitions.items() if len(places) > 1} == {}


def test_second_definition_of_an_id_is_found(tmp_path: Path) -> None:
    first = tmp_path / "first.py"
    second = tmp_path / "second.py"
    first.write_text('A = Template("slope.moves", "the slope moves")\n')
    second.write_text('\nB = Template("slope.moves", "the slope moves")\nC = Template("slope.rests", "at rest")\n')
    definitions = collect_definitions([first, second])
    assert definitions == {"slope.moves": [f"{first}:1", f"{second}:2"], "slope.rests": [f"{second}:3"]}
