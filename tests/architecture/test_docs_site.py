"""The documentation contains every page once, its links and examples are valid, and it loads nothing from other hosts.

`make site` also checks that every link and anchor has a target.
"""

import re
import tomllib
from pathlib import Path

from pydantic import ValidationError

from forecasting.kinematics.stages import RANK
from monitor.decision.changes import AlertCategory
from monitor.features.help.library import GENERATED, load_tabs
from monitor.settings.service import ServiceConfig
from monitor.sites.schema import make_site_file_model

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)]*)?\)")
OUTSIDE = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
    *sorted((ROOT / "packages").glob("*/*.md")),
    *sorted((ROOT / "packages" / "lab" / "benchmarks").glob("*.md")),
    *sorted((ROOT / "packages" / "lab" / "evaluation").glob("*.md")),
]


def test_every_document_is_listed_once_in_the_contents():
    listed = [page.name for tab in load_tabs() for page in tab.pages]
    assert sorted(listed) == sorted(
        {*(p.relative_to(DOCS).with_suffix("").as_posix() for p in DOCS.rglob("*.md")), *GENERATED}
    )
    rows = tomllib.loads((DOCS / "contents.toml").read_text(encoding="utf-8"))["tab"]
    assert {name for row in rows for name in row["pages"] if "*" not in name} <= set(listed)
    assert [tab.title for tab in load_tabs()] == [
        "Try it",
        "On duty",
        "Set up a site",
        "Connect instruments",
        "Operate",
        "Query and integrate",
        "Understand",
        "Contribute",
    ]


def test_every_toml_example_is_valid():
    """Examples are fragments, so a missing table or key is not an error."""
    count, wrong = 0, []
    for path in sorted(DOCS.rglob("*.md")):
        for block in re.findall(r"^ *```toml\n(.*?)^ *```", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
            lines = tomllib.loads(
                block if "[[station]]" in block else f"[[station]]\n{block}" if "[[station.series]]" in block else block
            )
            for model in (
                candidate
                for candidate in (make_site_file_model(), ServiceConfig)
                if lines.keys() <= candidate.model_fields.keys()
            ):
                count += 1
                try:
                    model.model_validate(lines)
                except ValidationError as error:
                    wrong += [
                        f"{path.name}: {candidate['loc']}: {candidate['msg']}"
                        for candidate in error.errors()
                        if candidate["type"] not in ("missing", "too_short")
                        and not re.search(r"expected an? (?:issuer|PostgreSQL)", candidate["msg"])
                    ]
    assert not wrong
    assert count > 40


def test_every_file_that_a_document_links_to_exists():
    dead = []
    for path in [*OUTSIDE, *sorted(DOCS.rglob("*.md"))]:
        text = re.sub(r"^ *```.*?^ *```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        targets = [target for target in LINK.findall(re.sub(r"`[^`]*`", "", text)) if ":" not in target]
        dead += [
            f"{path.relative_to(ROOT)}: {t}"
            for t in targets
            if not (path.parent / t).exists() and f"reference/{Path(t).stem}" not in GENERATED
        ]
    assert not dead


def test_the_site_loads_nothing_from_another_host():
    settings = (ROOT / "mkdocs.yml").read_text()
    assert "font: false" in settings
    assert not re.search(
        r"^\s*(?:- )?(?:analytics|social|privacy|extra_javascript|extra_css|custom_dir)\b", settings, re.MULTILINE
    )


def test_each_decision_record_has_its_own_number_in_name_and_title():
    titles = [(path.name[:4], path.read_text().partition("\n")[0]) for path in (DOCS / "adr").glob("[0-9]*.md")]
    assert len({number for number, _ in titles}) == len(titles)
    assert [title for number, title in titles if not title.startswith(f"# {int(number)}. ")] == []


def test_the_glossary_defines_every_stage_and_alert_category():
    text = (DOCS / "reference" / "glossary.md").read_text(encoding="utf-8")
    for name in (*RANK, "unknown", *AlertCategory):
        assert f"`{name}`" in text, name
