"""What the page of published figures quotes of ours is what stands in the stored records."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/explanation/published-figures.md").read_text()
SEEDS = json.loads((ROOT / "docs/benchmarks/seeds.json").read_text())["figures"]


def row(claim):
    """Cells of the row of the one table that begins so."""
    return next(line for line in PAGE.splitlines() if line.startswith(f"| {claim}")).split("|")


def test_the_table_of_decompositions_is_the_stored_one():
    leaks = SEEDS["decomposition on bazimen"]
    for name, method in (
        ("CEEMDAN", "ceemdan"),
        ("EMD", "emd"),
        ("VMD", "vmd"),
        ("STL", "stl"),
        ("polynomial", "polynomial"),
        ("polynomial of fifth order", "quintic"),
        ("ICEEMDAN", "iceemdan"),
        ("trailing mean", "trailing"),
    ):
        cells = re.search(rf"^\| {name} \| ([\d.]+) \| ([\d.]+) \|$", PAGE, re.MULTILINE).groups()
        worth = leaks[method]
        assert [float(cell) for cell in cells] == [
            round(worth["rmse_whole_series_mm"], 1),
            round(worth["rmse_causal_mm"], 1),
        ], name
        assert worth["moved_by_the_future"] == 0


def test_what_is_told_of_parts_stages_and_angles_is_stored():
    page = (ROOT / "docs/explanation/forecasting.md").read_text()
    methods = ("trailing", "stl", "polynomial", "quintic", "emd", "ceemdan", "iceemdan", "vmd")
    wanted = [
        [round(SEEDS[f"decomposition on {record}"][method][key], digits) for method in methods]
        for record, digits in (("bazimen", 1), ("lamosano", 2))
        for key in ("rmse_causal_mm", "rmse_whole_series_mm", "trend_moves_mm")
    ]
    told = re.findall(
        r"^\| (?:.*issue|.*series|.*later by) \|(.*)\|$", page.partition("## Decomposition")[2], re.MULTILINE
    )
    assert [[float(cell) for cell in line.split("|")] for line in told[:6]] == wanted
    stages = json.loads((ROOT / "docs/benchmarks/stages.json").read_text())["figures"]
    page = (ROOT / "docs/explanation/kinematics.md").read_text()
    keys = ("progressive", "angle_80", "angle_85")
    for law in (law for law in stages if law.startswith("exponent")):
        for lead, row_of in stages[law].items():
            assert f"| {lead[:-1]} d | " + " | ".join(f"{100 * row_of[key]:.0f} %" for key in keys) + " |" in page, lead
    for row_of in stages["did not fail"].values():
        cells = " | ".join(f"{100 * row_of[key]:.1f} %" for key in keys)
        assert f"| {row_of['looks']:,} ({row_of['with_angle']:,}) | {cells} |" in page


def test_the_one_table_quotes_the_stored_figures():
    outang, lamosano, bazimen, kept = (SEEDS[key] for key in ("outang", "lamosano", "bazimen", "stored"))
    seven = [one["mae_mm"] for one in lamosano["network"].values()]
    wanted = {
        "Outang": [
            outang["trivial"]["persistence"]["mae_mm"],
            outang["trivial"]["two-point line"]["mae_mm"],
            *(outang["honest"][name]["mae_mm"] for name in ("auto", "drift", "persistence")),
        ],
        "Lamosano": [
            *(lamosano["trivial"][name]["mae_mm"] for name in ("persistence", "lld")),
            min(seven),
            max(seven),
            lamosano["trivial"]["auto"]["mae_mm"],
        ],
        "Decomposition": [
            100 * bazimen["30 d"]["persistence"]["r2_cumulative"],
            bazimen["30 d"]["persistence"]["mae_mm"],
            bazimen["30 d"]["seasonal"]["mae_mm"],
        ],
        "Baijiabao": [
            SEEDS["baijiabao"][h][name]["mae_mm"] for h in ("1 d", "30 d") for name in ("persistence", "auto")
        ],
        "EGMS": [
            100 * kept["egms"]["lstm-ae"]["accuracy_of_silence"],
            100 * kept["egms"]["lstm-ae"]["recall"],
            100 * kept["egms"]["rules"]["recall"],
        ],
        "VAE-GRU": [kept["vae-gru on SK"]["7d"]["mae"], kept["auto on SK"]["7d"]["mae"]],
        "Bijie": [100 * kept["bijie"][name]["miou"] for name in ("logistic", "scdnn")],
        "Landslide4Sense": [100 * kept["landslide4sense"][name]["f1"] for name in ("logistic", "scdnn", "recipe")],
    }
    for claim, figures in wanted.items():
        quoted = [float(found) for found in re.findall(r"(?<![\w.])\d*\.\d+", " ".join(row(claim)[3:]))]
        for figure in figures:
            assert any(abs(figure - q) <= 0.006 * max(figure, 0.1) + 0.0006 for q in quoted), (claim, figure, quoted)


def test_one_span_and_nothing_chosen_on_what_is_reported():
    month, text = SEEDS["bazimen"]["30 d"]["persistence"], re.sub(r"\s+", " ", PAGE)
    r2 = f"{100 * month['r2_cumulative']:.1f} %"
    assert f"newest 12 months: R² {r2}, MAE {month['mae_mm'] + 1e-9:.1f} mm" in row("Decomposition")[3]
    assert f"{r2} at Bazimen in the newest 12 months" in text
    assert f"R² on increments is {month['r2_movement']:.2f}," in text
    assert f"36 months of Bazimen give {100 * SEEDS['bazimen']['r2_of_persistence_36']:.1f} %" in text
    assert SEEDS["stored"]["bijie"]["best"]["model"] not in PAGE
    seven = [one["mae_mm"] for one in SEEDS["lamosano"]["network"].values()]
    assert f"about {100 * (max(seven) / min(seven) - 1):.0f} % of each other" in text


def test_the_intervals_of_vae_gru_are_the_stored_ones():
    intervals = SEEDS["intervals of vae-gru on SK"]
    kinds = [intervals[kind] for kind in ("vae-gru, drawn", "vae-gru, calibrated", "auto, calibrated")]
    for horizon in ("1 d", "7 d", "30 d"):
        cells = (
            f"{100 * one[horizon]['coverage_80']:.1f} % | {one[horizon]['width_80_mm']:.2f} | "
            f"{one[horizon]['winkler_80_mm']:.2f}"
            for one in kinds
        )
        assert f"| {horizon} | {' | '.join(cells)} |" in PAGE
    assert all(kinds[2][h]["winkler_80_mm"] < one[h]["winkler_80_mm"] for one in kinds[:2] for h in one)
    for one in kinds:
        assert f"{100 * one['7 d']['coverage_80']:.1f} % at {one['7 d']['width_80_mm']:.2f} mm" in row("VAE-GRU")[4]


def test_the_table_of_short_records_is_the_stored_one():
    stored = json.loads((ROOT / "docs/benchmarks/forecast-short.json").read_text())["figures"]["reported"]
    page = (ROOT / "docs/explanation/forecasting.md").read_text()
    ways = ("persistence", "lld", "ewa", "as shipped", "tuned", "blend", "served", "own")
    for length, found in stored.items():
        line = re.search(rf"^\| {length.split()[0]} \| {found['records']} \|(.*)\|$", page, re.MULTILINE).group(1)
        *cells, opened = (cell.strip() for cell in line.split("|"))
        wanted = [found["ratio to auto"].get(way, [None])[0] for way in ways]
        told = [None if cell == "-" else float(cell) for cell in cells]
        assert [None if w is None else round(abs(w - t), 4) <= 0.0011 for w, t in zip(wanted, told, strict=True)] == [
            None if w is None else True for w in wanted
        ], length
        assert opened == f"{100 * found['served']:.0f} %"


def test_drawn_surveys_and_landscapes_are_told_as_stored():
    """The tables of change.md and susceptibility.md, and the sentence about images."""
    surveys, drawn = (
        json.loads((ROOT / f"docs/benchmarks/{name}.json").read_text())["figures"]
        for name in ("surveys", "susceptibility")
    )
    change, susceptibility = (
        (ROOT / f"docs/explanation/{name}.md").read_text() for name in ("change", "susceptibility")
    )
    for label, name, few in (
        ("median, cells of 0.5 m", "heights, median", 3),
        ("M3C2, radius 0.75 m", "M3C2", 5),
    ):
        cells = []
        for per_m2 in (few, 30):
            one = surveys[f"{name}, {per_m2} points/m²"]
            held, low, high = (f"{100 * share:.0f}" for share in (one["held_95"], *one["held_95_range"]))
            cells.append(f"{held} % ({low} to {high})")
        assert f"| {label} | {' | '.join(cells)} |" in change
    assert (
        surveys["cloth, 35 degrees with trees"] | {"ground_kept": 1.0, "trees_kept": 0.0}
        == surveys["cloth, 35 degrees with trees"]
    )
    calm, noisy = (surveys[f"vectors, noise {noise}"] for noise in (2, 10))
    assert (
        f"errors were {calm['error_px']:.3f} pixels with noise of {100 * calm['noise_to_contrast']:.0f} % of the "
        f"contrast, and {noisy['error_px']:.3f} pixels with {100 * noisy['noise_to_contrast']:.0f} %. The stated 95 % "
        f"held for {100 * calm['held_95']:.0f} and {100 * noisy['held_95']:.0f} % of the windows"
    ) in re.sub(r"\s+", " ", change)
    for name, one in drawn.items():
        if name != "pixels":
            row_of = re.search(rf"^\| {name} \|(.*)\|$", susceptibility, re.MULTILINE).group(1)
            assert [float(cell) for cell in re.findall(r"\d*\.\d+", row_of)] == [
                round(value, 3)
                for value in (
                    one["auc_of_the_truth"],
                    one["auc_left_out_blocks"],
                    *one["auc_left_out_blocks_range"],
                    one["auc_random_cells"],
                    *one["auc_random_cells_range"],
                    one["said_to_observed"],
                )
            ], name
