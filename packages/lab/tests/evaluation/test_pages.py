"""The evaluation pages agree with the stored results, and so do the figures that pages of docs/explanation quote."""

import json
import re
from pathlib import Path

from packages.lab.evaluation import write_pages
from tests.bench.figures import Figure, Row, make_result
from tests.bench.record import LAB_RESULTS, SERVICE_RESULTS
from tests.tables import tabulated

EXPLANATION = Path(__file__).resolve().parents[4] / "docs" / "explanation"


def load_figure(place):
    """Return the figure at `RESULT > KEY > ...`; a key of a list is its index."""
    name, *keys = place.split(" > ")
    value = json.loads(write_pages.find_result(name).read_text())["figures"]
    for key in keys:
        value = value[int(key) if isinstance(value, list) else key]
    return value


STORED, TRUST, ANOMALIES = "seeds > stored > egms > ", "stretches > landslide4sense > rows >", "anomalies-served >"
MANY = "many_series > cpu_s_per_1000_series"
AUC = "susceptibility > landslides in swarms > auc_"
FAILURES = "failure_time > daily, exponent 2, noise 0.5 and 2 mm > all > 14d >"
# Page of docs/explanation, a sentence with the formats of its figures, and the place of each figure in the results.
QUOTES = [
    (
        "measured-figures",
        "persistence {:.3f} mm, a line through two points {:.3f} mm",
        [f"seeds > outang > trivial > {name} > mae_mm" for name in ("persistence", "two-point line")],
    ),
    (
        "measured-figures",
        "CEEMDAN RMSE {:.1f} mm with the whole series, {:.1f} mm with the past",
        [f"seeds > decomposition on bazimen > ceemdan > rmse_{one}_mm" for one in ("whole_series", "causal")],
    ),
    (
        "measured-figures",
        "recall {:.1%} %; simple rules {:.1%} %",
        [STORED + "lstm-ae > recall", STORED + "rules > recall"],
    ),
    (
        "measured-figures",
        "{:.1%} % six hours ahead, {:.1%} % a day, {:.1%} % a week, {:.1%} % a month ahead",
        [f"forecast-acceptance > coverage_80 > {horizon} > all" for horizon in ("6 h", "1 d", "7 d", "30 d")],
    ),
    (
        "measured-figures",
        "{:.0%} % of injected faults, at {:.4f} false alarms per series and day",
        [f"{ANOMALIES} 1 > recall", f"{ANOMALIES} 1 > false_per_series_day"],
    ),
    (
        "measured-figures",
        "F1 {:.3f} on 300 true-colour patches of 10 m, {:.3f} for logistic regression. {:.0%} % of the outlines",
        [f"imagery-acceptance > landslide4sense > {name}" for name in ("f1", "f1_logistic", "false_objects")],
    ),
    (
        "measured-figures",
        "daily readings: in {:.0%} % of cases, median width {:.1f} days",
        [f"{FAILURES} {key}" for key in ("inside", "median_width_days")],
    ),
    (
        "scenes",
        "| `landslide4sense-standard` | 1,100 true-colour patches of 10 m, a city and snow | {:.3f} | {:.3f} |",
        [f"imagery-acceptance > landslide4sense > {name}" for name in ("f1", "f1_logistic")],
    ),
    (
        "scenes",
        "| `landslide4sense` | 1,100 true-colour patches of 10 m | {:.3f} | {:.3f} |",
        [f"recipes > landslide4sense > {name}" for name in ("f1", "simple > logistic")],
    ),
    (
        "scene-trust",
        "the F1 of `landslide4sense` falls from 0.61 to {:.2f} and {:.2f}",
        [f"{TRUST} {name} > landslide4sense" for name in ("offset of 1000 counts", "brightness x 0.5")],
    ),
    (
        "susceptibility",
        "random cells give {:.3f}, and blocks that were left out {:.3f}",
        [AUC + "random_cells", AUC + "left_out_blocks"],
    ),
    (
        "kinematics",
        "| daily, alpha 2 | 14 d | {:.2f} | {:.2f} | {:.1f} d |",
        [f"{FAILURES} {key}" for key in ("issued", "inside", "median_width_days")],
    ),
    (
        "anomalies",
        "| Japan, 18 GNSS stations, daily | {:.2f} | {:.4f} | {:.2f} |",
        [f"{ANOMALIES} 9 > recall", f"{ANOMALIES} 9 > false_per_series_day", f"{ANOMALIES} 3 > recall"],
    ),
    ("scale", "| decisions | {:.2f} s for 1,000 series, each round |", ["decisions > " + MANY]),
]


@tabulated("name", sorted(write_pages.PAGES))
def test_page_is_what_the_results_give(name):
    page = write_pages.FOLDER / f"{name}.md"
    assert page.read_text() == write_pages.make_page(name), "run python -m packages.lab.evaluation.write_pages"


def test_table_of_all_benchmarks_has_the_figures_of_a_run():
    rate = Figure("stored", 8490.0, "messages/s", "paho", 7604.0)
    result = make_result([Row("ingest-live", "sqlite", rate), Row("scene", "", rate)], {})
    [table] = write_pages.list_bench(result)
    figures = ("stored", "8,490 messages/s", "paho", "7,604 messages/s", "1.12")
    assert table.rows == [("ingest-live", "sqlite", *figures), ("scene", "-", *figures)]


def test_every_result_is_on_a_page():
    sections = [section for _, _, sections in write_pages.PAGES.values() for section in sections]
    stored = [path.stem for folder in (LAB_RESULTS, SERVICE_RESULTS) for path in folder.path.glob("*.json")]
    assert sorted(stored) == sorted({name for section in sections for name in section.results})
    assert {path.stem for path in write_pages.FOLDER.glob("*.md")} == set(write_pages.PAGES)


@tabulated(("page", "sentence", "places"), QUOTES)
def test_quoted_figure_is_the_stored_figure(page, sentence, places):
    text = re.sub(r"\s+", " ", (EXPLANATION / f"{page}.md").read_text())
    figures = []
    for form, place in zip(re.findall("{:(.*?)}", sentence), places, strict=True):
        figure = format(load_figure(place), form).removesuffix("%")
        # Pages write 0.61 also as .61.
        figures.append(f"(?:{re.escape(figure)}|{re.escape(figure.removeprefix('0'))})")
    pattern = re.escape(re.sub("{.*?}", "{}", sentence)).replace(r"\{\}", "{}").format(*figures)
    assert re.search(pattern, text), figures


# The networks of the present number of parameters have figures in another result.
MEASURED_AGAIN = {"frrn-a", "frrn-b"}


def test_table_of_systems_quotes_the_measured_figures():
    maps = {part: load_figure(f"imagery > {part} > maps") for part in ("l4s", "bijie")}
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
    table = readme.partition("## Systems for images")[2].partition("\n## ")[0]
    compared = set()
    for line in table.splitlines():
        cells = line.strip("|").split("|")
        if not line.startswith("| ") or len(cells) != 6:
            continue
        names = [name for name in re.findall(r"`([a-z0-9-]+)`", cells[2]) if name in maps["bijie"]]
        if not names or MEASURED_AGAIN & {*names} or "unet-vit" in cells[2]:
            continue
        figures = [f"{maps[part][name][key]:.3f}" for name in names for part, key in (("l4s", "f1"), ("bijie", "miou"))]
        assert re.findall(r"0\.\d{3}", cells[5]) == figures, line
        compared |= {*names}
    assert len(compared) > 15
