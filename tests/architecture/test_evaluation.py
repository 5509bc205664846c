"""Pages of evaluation are made from the stored records, and what an explanation quotes of them is what they hold."""

import importlib.util
import json
import re
import sys
from functools import cache
from pathlib import Path

import pytest

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


def find(record, *keys):
    value = load(record)
    for key in keys:
        value = value[key]
    return value


# explanation, a sentence of it with figures as {}, how each is written, where each stands in the records
QUOTES = [
    (
        "published-figures",
        "persistence {} mm, a line through two points {} mm",
        (".3f", ".3f"),
        (
            ("seeds", "outang", "trivial", "persistence", "mae_mm"),
            ("seeds", "outang", "trivial", "two-point line", "mae_mm"),
        ),
    ),
    (
        "published-figures",
        "CEEMDAN RMSE {} mm with the whole series, {} mm with the past",
        (".1f", ".1f"),
        (
            ("seeds", "decomposition on bazimen", "ceemdan", "rmse_whole_series_mm"),
            ("seeds", "decomposition on bazimen", "ceemdan", "rmse_causal_mm"),
        ),
    ),
    (
        "published-figures",
        "recall {} %; simple rules {} %",
        (".1%", ".1%"),
        (("seeds", "stored", "egms", "lstm-ae", "recall"), ("seeds", "stored", "egms", "rules", "recall")),
    ),
    (
        "scenes",
        "| `landslide4sense` | the same | {} | {} |",
        (".3f", ".3f"),
        (("recipes", "landslide4sense", "f1"), ("recipes", "landslide4sense", "simple", "logistic")),
    ),
    (
        "scene-trust",
        "while `landslide4sense` falls from 0.61 to {} and {}",
        (".2f", ".2f"),
        (
            ("stretches", "landslide4sense", "rows", "offset of 1000 counts", "landslide4sense"),
            ("stretches", "landslide4sense", "rows", "brightness x 0.5", "landslide4sense"),
        ),
    ),
    (
        "susceptibility",
        "it claims {} where left-out blocks have {}",
        (".3f", ".3f"),
        (
            ("susceptibility", "landslides in swarms", "auc_random_cells"),
            ("susceptibility", "landslides in swarms", "auc_left_out_blocks"),
        ),
    ),
    (
        "kinematics",
        "| daily, alpha 2 | 14 d | {} | {} | {} d |",
        (".2f", ".2f", ".1f"),
        tuple(
            ("failure_time", "daily, exponent 2, noise 0.5 and 2 mm", "all", "14d", key)
            for key in ("issued", "inside", "median_width_days")
        ),
    ),
    (
        "anomalies",
        "| G, 18 GNSS stations | {} | {} | {} |",
        (".2f", ".2f", ".3f"),
        tuple(
            ("anomalies-bench", "G", "three seeds", 7, key)  # rules+checks
            for key in ("recall", "precision", "false_alarms_per_sensor_month")
        ),
    ),
    (
        "scale",
        "| decisions | {} s for 1,000 series, each round |",
        (".2f",),
        (("decisions", "many_series", "cpu_s_per_1000_series"),),
    ),
]


@pytest.mark.parametrize("name", sorted(load_maker().PAGES))
def test_a_page_of_evaluation_is_what_the_records_give(name):
    assert (DOCS / "evaluation" / f"{name}.md").read_text() == load_maker().make_page(name), "python docs/evaluation.py"


def test_every_record_has_a_page():
    used = {
        record for *_, sections in load_maker().PAGES.values() for section in sections for record in section.records
    }
    assert {path.stem for path in (DOCS / "benchmarks").glob("*.json")} == used
    assert {path.stem for path in (DOCS / "evaluation").glob("*.md")} == set(load_maker().PAGES)


@pytest.mark.parametrize(("page", "sentence", "forms", "places"), QUOTES)
def test_a_quoted_figure_is_the_stored_one(page, sentence, forms, places):
    text = re.sub(r"\s+", " ", (DOCS / "explanation" / f"{page}.md").read_text())
    figures = []
    for form, place in zip(forms, places, strict=True):
        written = format(find(*place), form).removesuffix("%")
        shortened = written.removeprefix("0")  # .61 is written as 0.61 or .61
        figures.append(f"(?:{re.escape(written)}|{re.escape(shortened)})")
    assert re.search(re.escape(sentence).replace(r"\{\}", "{}").format(*figures), text), figures
