"""`slopeward scenes models`: every network of the literature, its score here, and the reasons for and against it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from monitor.api.cli import options, print_result

if TYPE_CHECKING:
    from detection.imagery.weights_file import ModelCard

# In a checkout, and in the installed distribution.
RESULT_FOLDERS = (
    Path(__file__).resolve().parents[4] / "packages" / "lab" / "benchmarks" / "results",
    Path(__file__).resolve().parents[3] / "_benchmarks",
)


def read_benchmark(name: str) -> dict[str, Any] | None:
    """Return the stored result of a benchmark, or None if there is none."""
    for folder in RESULT_FOLDERS:
        path = folder / f"{name}.json"
        if path.is_file():
            result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return result
    return None


EXAMPLE = "Example: slopeward scenes models --all --json"
RECORDS = ("imagery-attention", "imagery-encoders", "imagery-public", "imagery-added", "imagery", "two-dates")
"""Stored comparisons. If several contain a network, the first of them is used."""
REBUILT = {"frrn-a": 274_126, "frrn-b": 384_158}
"""Numbers of weights of networks that were changed after they were measured, so that their scores are not shown.

Their last stage had 48 channels and has 96 now.
"""
SETS = {"l4s": "landslide4sense-rgb", "bijie": "bijie"}
PAIRS = ("drawn pairs", "recoloured pairs")
SETS |= {name: name for name in PAIRS}
RULE = "rule"
"""For pairs of dates, networks of two dates are compared with this row: `scenes compare` with the shipped network."""
_FALSE_NEW = "false_new_percent"
_KEPT = ("f1", "f1_range", "seeds", "miou", "ap50", "cpu_s", _FALSE_NEW)
HEADER = "network, weights with 3 / 14 bands in millions, scores on held-out images; then paper and reasons"
SEGMENTER, CLASSIFIER = "segmenter", "classifier of tiles"
NOT_MEASURED = "not measured"
Score = Mapping[str, Any]


class Argument(NamedTuple):
    """A reason for or against a network."""

    score: Score | None  # the score that it follows from
    is_for: bool
    text: str


def models(
    everything: Annotated[
        bool,
        typer.Option("--all", help="Also variants of networks by their options, and simple methods without a network."),
    ] = False,
) -> None:
    """List the scene networks with their papers, weights and scores, without a database."""
    from detection.imagery.registry import CLASSIFIERS, list_segmenters

    kept = {name: found for name in RECORDS if (found := read_benchmark(name))}
    shipped = _find_shipped()
    rows = [
        _make_row(name, kind, entry.paper, entry.parameters, shipped.get(name, []), kept)
        for kind, table in ((SEGMENTER, list_segmenters()), (CLASSIFIER, CLASSIFIERS))
        for name, entry in table.items()
    ]
    rows += _list_crack_rows()
    if everything:
        rows += [_make_row(name, "simple map", paper, None, [], kept) for name, paper in _SIMPLE.items()]
    if not options().as_json:
        print(HEADER)
    for row in rows:
        print_result(asdict(row), _format_row(row))


_SIMPLE = {
    "index": "none: one index of red and green, one threshold",
    "logistic": "none: logistic regression on 25 features",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRow:
    """One network; its fields are the keys of a JSON line."""

    id: str
    kind: str
    paper: str | None
    parameters: dict[str, int] | None  # by bands
    weights: list[dict[str, float | str | None]] | None  # those that are shipped
    scores: list[Score] | None
    note: str | None
    reasons_for: str | None
    reasons_against: str | None


def _find_shipped() -> dict[str, list["ModelCard"]]:
    from detection.imagery.weights_file import MEASURED_FOLDER, WEIGHTS_FOLDER

    found: dict[str, list[ModelCard]] = {}
    for path in sorted({*WEIGHTS_FOLDER.rglob("*.json"), *MEASURED_FOLDER.glob("*.json")}, key=lambda path: path.name):
        card: ModelCard = json.loads(path.read_text(encoding="utf-8"))
        found.setdefault(card["network"]["name"], []).append(card)
    return found


def _make_row(
    name: str,
    kind: str,
    paper: str | None,
    parameters: tuple[int, int] | None,
    shipped: Sequence["ModelCard"],
    kept: Mapping[str, Mapping[str, Any]],
) -> NetworkRow:
    scores_by_set = [_find_score(name, set_name, kept) for set_name in SETS]
    measured = [score for score in scores_by_set if score]
    arguments: list[Argument] = [_make_argument(score) for score in measured]
    if any(score["set"] in PAIRS for score in measured):
        text = "drawn pairs alone: on a measured pair melted snow is new to it, though drawn; not shipped"
        arguments.append(Argument(None, False, text))
    arguments = arguments or _find_drawn_scores(shipped)
    if kind == CLASSIFIER:
        arguments = _find_triage_scores()
    if shipped:
        arguments.insert(0, Argument(None, True, "shipped as " + ", ".join(card["name"] for card in shipped)))
    scores = [argument.score for argument in arguments if argument.score is not None] or None
    return NetworkRow(
        id=name,
        kind=kind,
        paper=paper,
        parameters=None if parameters is None else {"3_bands": parameters[0], "14_bands": parameters[1]},
        weights=[
            {
                "name": card["name"],
                "width": card["network"]["width"],
                "parameters": card.get("parameters"),
                "learnt_from": card["data"]["source"],
                "licence": card["data"]["licence"],
            }
            for card in shipped
        ]
        or None,
        scores=scores,
        note=None if scores else NOT_MEASURED,
        reasons_for=_join_reasons(arguments, is_for=True),
        reasons_against=_join_reasons(arguments, is_for=False),
    )


def _join_reasons(arguments: Iterable[Argument], *, is_for: bool) -> str | None:
    return "; ".join(argument.text for argument in arguments if argument.is_for is is_for) or None


def _find_score(name: str, set_name: str, kept: Mapping[str, Mapping[str, Any]]) -> Score | None:
    """Return the scores of a network on a set from the first record with it, beside those of another network."""
    for record, content in kept.items():
        table = content["figures"].get(set_name, {"maps": {}})
        row, other = table["maps"].get(name), "logistic" if name == "unet" else "unet"
        other = RULE if RULE in table["maps"] else other
        rebuilt = name in REBUILT and row and row["parameters"] == REBUILT[name]
        if row is None or other not in table["maps"] or rebuilt:
            continue
        reference = table["maps"][other]
        return {
            "set": SETS[set_name],
            **{key: row[key] for key in _KEPT if key in row},
            **({"false_new_beside": reference[_FALSE_NEW]} if _FALSE_NEW in row else {}),
            "width": content["figures"]["width"],
            "beside": other,
            "difference": _find_difference(name, other, table["carried"]),
            "times_its_cpu": round(row["cpu_s"] / reference["cpu_s"], 1),
            "record": f"{record}.json",
            "measured_at": content["measured_at"],
            "machine": content["machine"],
        }
    return None


def _find_drawn_scores(shipped: Sequence["ModelCard"]) -> list[Argument]:
    arguments: list[Argument] = []
    is_drawn = all(card["name"].startswith("generated") for card in shipped)
    for card in shipped if is_drawn else ():
        against = f"{card['name']}: drawn patches alone, nothing measured backs it"
        score = {
            "set": card["name"],
            **{key: card["metrics"]["test"][key] for key in ("f1", "precision", "recall", "miou")},
            "seeds": 1,
            "width": card["network"]["width"],
            "patches": card["metrics"]["test_patches"],
            "record": "its card",
            "against": against,
        }
        arguments.append(Argument(score, False, against))
    return arguments


def _find_triage_scores() -> list[Argument]:
    """Return the recall of classifiers of tiles: of the recipe in cross-validation, and of the shipped weights."""
    if (content := read_benchmark("triage")) is None:
        return []
    stored, arguments = content["figures"], list[Argument]()
    for what, row in (("the recipe on folds", stored["recipe"]["pooled"]), ("shipped", stored["shipped"]["windows"])):
        low, high = row["recall_95"]
        share = f"{row['looked_at']} of {row['landslide_tiles']} landslide tiles looked at ({low:.0%} to {high:.0%})"
        score = {
            "set": f"{SETS['bijie']}, {what}",
            **row,
            "seeds": 1,
            "cost_to_network": stored["shipped"]["cost_to_network"],
            "for": f"{what}: {share}",
            "against": f"{what}: {row['passed_over']} of {row['empty_tiles']} empty tiles passed over",
            "record": "triage.json",
            "measured_at": content["measured_at"],
            "machine": content["machine"],
        }
        arguments += [Argument(score, True, score["for"]), Argument(None, False, score["against"])]
    return arguments


def _list_crack_rows() -> list[NetworkRow]:
    if (content := read_benchmark("cracks")) is None:
        return []
    scores, arguments = list[Score](), list[Argument]()
    other = "ridge filter"
    for label in ("bijie", "coseismic"):
        table = content["figures"][label]
        row, less = table["maps"]["unet"], table["differences"][f"unet less {other}"]["f1"]
        score = {"set": f"drawn cracks, {label}", **row, "beside": other, "record": "cracks.json"}
        low, high = map(_format_number, less["interval"])
        scores.append({**score, "measured_at": content["measured_at"], "machine": content["machine"]})
        difference = f"F1 of length {_format_number(less['difference'])} above the {other} ({low} to {high}, one seed)"
        arguments.append(Argument(None, less["interval"][0] > 0, f"{label}: {difference}"))
    arguments.append(Argument(None, False, "trained and scored on drawn cracks, no measured set: not shipped"))
    return [
        NetworkRow(
            id="recipe cracks",
            kind="segmenter of cracks",
            paper="Ronneberger et al. 2015, arXiv 1505.04597; lines after Guo and Hall 1989",
            parameters={"3_bands": row["parameters"]},
            weights=None,
            scores=scores,
            note=None,
            reasons_for=_join_reasons(arguments, is_for=True),
            reasons_against=_join_reasons(arguments, is_for=False),
        )
    ]


def _find_difference(name: str, other: str, carried: Iterable[Any]) -> Score | None:
    for better, worse, size, (low, high) in carried:
        if {better, worse} == {name, other}:
            sign = 1 if better == name else -1
            return {"f1": sign * size, "interval": sorted(sign * abs(end) for end in (low, high))}
    return None


def _make_argument(score: Score) -> Argument:
    found, times = score["difference"], score["times_its_cpu"]
    cost = f" at {f'{times} times' if times else 'less than 0.1 times'} its processor time"
    is_quiet = score.get(_FALSE_NEW, 0.0) <= score.get("false_new_beside", 0.0)
    if _FALSE_NEW in score:
        cost += f", falsely new in stable pairs {score[_FALSE_NEW]:.3g} % for its {score['false_new_beside']:.3g} %"
    if found is None:
        text = f"{score['set']}: not distinguished from {score['beside']}{cost}"
        return Argument(score, times < 1 and is_quiet, text)
    low, high = map(_format_number, sorted(abs(end) for end in found["interval"]))
    seeds = "one seed" if score["seeds"] == 1 else f"{score['seeds']} seeds"
    side = "above" if found["f1"] > 0 else "below"
    f1 = _format_number(abs(found["f1"]))
    text = f"{score['set']}: F1 {f1} {side} {score['beside']} ({low} to {high}, {seeds}){cost}"
    return Argument(score, found["f1"] > 0 and is_quiet, text)


def _format_row(row: NetworkRow) -> str:
    counts = row.parameters
    size = "" if counts is None else " / ".join(f"{_format_number(count / 1e6)} M" for count in counts.values())
    score_texts = []
    for score in row.scores or []:
        name, value = ("F1", score["f1"]) if "f1" in score else ("recall", score["recall"])
        score_texts.append(f"{score['set']} {name} {_format_number(value)}")
    scores = ", ".join(score_texts) or row.note
    lines = [f"{row.id:26} {size:>19}  {scores}", f"    {row.paper or 'no paper stated'}"]
    lines += [f"    {card['name']}: learnt from {card['learnt_from']}; {card['licence']}" for card in row.weights or ()]
    reasons = (("for", row.reasons_for), ("against", row.reasons_against))
    return "\n".join(lines + [f"    {side}: {text}" for side, text in reasons if text])


def _format_number(value: float) -> str:
    return format(value, ".3f")
