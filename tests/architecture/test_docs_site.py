"""The site of the documents holds every document; that its links and anchors lead somewhere, `make site` proves."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)]*)?\)")
ABOVE = [ROOT / "README.md", ROOT / "SECURITY.md"]


def test_every_folder_of_documents_is_a_room_of_the_site():
    tree = ast.parse((DOCS / "site.py").read_text())
    (rooms,) = [
        ast.literal_eval(n.value) for n in tree.body if isinstance(n, ast.Assign) and n.targets[0].id == "ROOMS"
    ]
    assert {path.parent.name for path in DOCS.glob("*/*.md")} == set(rooms)
    front = (DOCS / "site.py").read_text()
    assert all(f'"{path.name}"' in front for path in DOCS.glob("*.md"))


@pytest.mark.parametrize("path", [*ABOVE, *sorted(DOCS.rglob("*.md"))], ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_file_that_a_document_links_to_exists(path):
    text = re.sub(r"^ *```.*?^ *```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    targets = {target for target in LINK.findall(re.sub(r"`[^`]*`", "", text)) if ":" not in target}
    assert not [target for target in targets if not (path.parent / target).exists()]


def test_the_site_loads_nothing_from_another_host():
    settings = (ROOT / "mkdocs.yml").read_text()
    assert "font: false" in settings
    assert not re.search(
        r"^\s*(?:- )?(?:analytics|social|privacy|extra_javascript|extra_css|custom_dir)\b", settings, re.MULTILINE
    )


def test_each_decision_has_a_number_of_its_own_and_says_it():
    found = [(path.name[:4], path.read_text().partition("\n")[0]) for path in (DOCS / "adr").glob("[0-9]*.md")]
    assert len({number for number, _ in found}) == len(found)
    assert [title for number, title in found if not title.startswith(f"# {int(number)}. ")] == []
