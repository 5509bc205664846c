"""Pages of evaluation are made from the stored records, and what an explanation quotes of them is what they hold."""

import ast
import importlib.util
import json
import re
import sys
from functools import cache
from pathlib import Path

from tests.tables import tabulated

DOCS = Path(__file__).resolve().parents[2] / "docs"


@cache
def load_maker():
    """The script that makes the pages."""
    spec = importlib.util.spec_from_file_location("evaluation", DOCS / "evaluation.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["evaluation"] = module
    spec.loader.exec_module(module)
    return module


def load(record):
    return json.loads((DOCS / "benchmarks" / f"{record}.json").read_text())["figures"]


def find(place):
    record, *keys = place.split(" > ")
    value = load(record)
    for key in keys:
        value = value[int(key) if isinstance(value, list) else key]
    return value


STORED, TRUST, ANOMALIES = "seeds > stored > egms > ", "stretches > landslide4sense > rows >", "anomalies-bench > G >"
MANY = "many_series > cpu_s_per_1000_series"
AUC = "susceptibility > landslides in swarms > auc_"
FAILURES = "failure_time > daily, exponent 2, noise 0.5 and 2 mm > all > 14d >"
# explanation, a sentence of it with figures as they are written, where each stands in the records
QUOTES = [
    (
        "published-figures",
        "persistence {:.3f} mm, a line through two points {:.3f} mm",
        [f"seeds > outang > trivial > {name} > mae_mm" for name in ("persistence", "two-point line")],
    ),
    (
        "published-figures",
        "CEEMDAN RMSE {:.1f} mm with the whole series, {:.1f} mm with the past",
        [f"seeds > decomposition on bazimen > ceemdan > rmse_{one}_mm" for one in ("whole_series", "causal")],
    ),
    (
        "published-figures",
        "recall {:.1%} %; simple rules {:.1%} %",
        [STORED + "lstm-ae > recall", STORED + "rules > recall"],
    ),
    (
        "scenes",
        "| `landslide4sense` | the same | {:.3f} | {:.3f} |",
        [f"recipes > landslide4sense > {name}" for name in ("f1", "simple > logistic")],
    ),
    (
        "scene-trust",
        "while `landslide4sense` falls from 0.61 to {:.2f} and {:.2f}",
        [f"{TRUST} {name} > landslide4sense" for name in ("offset of 1000 counts", "brightness x 0.5")],
    ),
    (
        "susceptibility",
        "it claims {:.3f} where left-out blocks have {:.3f}",
        [AUC + "random_cells", AUC + "left_out_blocks"],
    ),
    (
        "kinematics",
        "| daily, alpha 2 | 14 d | {:.2f} | {:.2f} | {:.1f} d |",
        [f"{FAILURES} {key}" for key in ("issued", "inside", "median_width_days")],
    ),
    (
        "anomalies",
        "| G, 18 GNSS stations | {:.2f} | {:.2f} | {:.3f} |",
        [f"{ANOMALIES} three seeds > 7 > {key}" for key in ("recall", "precision", "false_alarms_per_sensor_month")],
    ),
    ("scale", "| decisions | {:.2f} s for 1,000 series, each round |", ["decisions > " + MANY]),
]


@tabulated("name", sorted(load_maker().PAGES))
def test_a_page_of_evaluation_is_what_the_records_give(name):
    assert (DOCS / "evaluation" / f"{name}.md").read_text() == load_maker().make_page(name), "python docs/evaluation.py"


def test_every_record_has_a_page():
    used = {
        record for *_, sections in load_maker().PAGES.values() for section in sections for record in section.records
    }
    assert {path.stem for path in (DOCS / "benchmarks").glob("*.json")} == used
    assert {path.stem for path in (DOCS / "evaluation").glob("*.md")} == set(load_maker().PAGES)


@tabulated(("page", "sentence", "places"), QUOTES)
def test_a_quoted_figure_is_the_stored_one(page, sentence, places):
    text = re.sub(r"\s+", " ", (DOCS / "explanation" / f"{page}.md").read_text())
    figures = []
    for form, place in zip(re.findall("{:(.*?)}", sentence), places, strict=True):
        written = format(find(place), form).removesuffix("%")
        figures.append(f"(?:{re.escape(written)}|{re.escape(written.removeprefix('0'))})")  # 0.61 is also written .61
    assert re.search(re.escape(re.sub("{.*?}", "{}", sentence)).replace(r"\{\}", "{}").format(*figures), text), figures


def test_benches_take_from_the_tests_what_is_there():
    """No other test runs them, so what they import would leave unseen."""
    root, missing = DOCS.parent, []
    for path in (root / "tests" / "bench").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tests."):
                source = root / (node.module or "").replace(".", "/")
                text = "" if source.is_dir() else source.with_suffix(".py").read_text()
                known = set(re.findall(r"\w+", text)) | {one.stem for one in source.glob("*")}
                missing += [f"{path.name}: {one.name}" for one in node.names if one.name not in known]
    assert missing == []
