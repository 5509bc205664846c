"""The site of the documents holds every document; that its links and anchors lead somewhere, `make site` proves."""

import ast
import re
from pathlib import Path

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


def test_every_file_that_a_document_links_to_exists():
    dead = []
    for path in [*ABOVE, *sorted(DOCS.rglob("*.md"))]:
        text = re.sub(r"^ *```.*?^ *```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        targets = [target for target in LINK.findall(re.sub(r"`[^`]*`", "", text)) if ":" not in target]
        dead += [f"{path.relative_to(ROOT)}: {t}" for t in targets if not (path.parent / t).exists()]
    assert not dead


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
