"""`slopeward scenes score`: score weights on labelled patches, and store the score as a proof for a site."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from detection.imagery.footprints.records import AUTO
from detection.imagery.weights_file import is_same
from monitor.api.cli import By, authenticate_actor, open_service, pick_site, print_if_json
from monitor.api.decision import check_outlines
from monitor.api.errors import SlopewardError
from monitor.api.queries.models import OUTLINES, ModelTest, add_proof
from monitor.api.sites import list_criteria_needing_proof
from monitor.features.scenes.queries.reviews import load_reviewed
from monitor.features.scenes.queries.weights import find_weights

if TYPE_CHECKING:
    from detection.imagery.data.catalogue import DataTable
    from monitor.api.database import Actor, Database
    from monitor.api.sites import Criterion, Site
    from monitor.api.text import Message

EXAMPLE: Final = "Example: slopeward scenes score --weights my.safetensors --data DIR --with simple --json"
SEEN: Final = ": the score does not apply to new ground"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreArguments:
    """What `slopeward scenes score` takes."""

    weights: Annotated[str | None, typer.Option("--weights", help="Shipped weights, or a .safetensors file.")] = None
    data: Annotated[Path, typer.Option("--data", help="Folder that contains the data of the recipe.")] = Path()
    layout: Annotated[
        str | None, typer.Option(help="Format of the patches, if they are not those of the weights' recipe.")
    ] = None
    folder: Annotated[str | None, typer.Option(help="Folder of these patches within --data.")] = None
    part: Annotated[str, typer.Option(help="Part of these patches, such as test.")] = "validation"
    bands: Annotated[
        str | None, typer.Option(help="With --layout folder: bands in the order of the files, such as B4,B3,B2.")
    ] = None
    landslide: Annotated[
        int | None,
        typer.Option(min=1, max=255, help="With --layout folder: value of landslides in the masks. Default: 1."),
    ] = None
    scale: Annotated[
        float | None,
        typer.Option(
            min=1e-30,
            max=1e30,
            help="With --layout folder: factor of the numbers in the files, such as 1 for reflectance. "
            "Default: that of the weights.",
        ),
    ] = None
    threshold: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Threshold instead of that of the model card.")
    ] = None
    compare: Annotated[
        str | None, typer.Option("--with", help="simple: also score an index and logistic regression on 25 features.")
    ] = None
    site: Annotated[
        str | None,
        typer.Option(
            "--site", help="Site whose ground the patches show: the score is stored as a proof for its criteria."
        ),
    ] = None
    by: By = None


def score(given: ScoreArguments) -> None:
    """Score the weights of a scene network on labelled patches, by pixels, images, landslides and edges.

    With `--site`, the weights of the site file and logistic regression are scored on patches of the ground of the site.
    Together with the reviews of its footprints, the score decides whether the criterion `scene` may raise the level.
    """
    compare = given.compare
    weights = given.weights
    import torch

    from detection.imagery.training.evaluation import score_weights

    if compare not in {None, "simple"}:
        raise typer.BadParameter("expected `simple`", param_hint="--with")
    if weights is None and given.site is None:
        raise typer.BadParameter("give --weights, or --site to score the weights of a site")
    if given.site is not None and given.layout is None:
        raise typer.BadParameter(
            "needs --layout and --folder, the patches of the ground of the site", param_hint="--site"
        )
    if given.site is not None and given.threshold is not None:
        raise typer.BadParameter(
            "cannot be combined with --site: a proof is valid for the threshold of the weights",
            param_hint="--threshold",
        )
    named_weights = weights
    to_prove = None if given.site is None else _find_criterion(given.site, given.by)
    if to_prove is not None:
        weights = _choose_weights(to_prove.db, to_prove.site, named_weights)
        compare = "simple"
    assert weights is not None
    torch.set_num_threads(1)
    named = _read_patch_options(given)
    table: DataTable | None = None
    if given.layout is not None:
        table = {"source": given.layout, "folder": given.folder or "", "test_part": given.part, **named}
    answer = score_weights(weights, given.data, data=table, threshold=given.threshold, simple=compare is not None)
    proof = None if to_prove is None else _store_proof(to_prove, answer, named_weights)
    if print_if_json(answer if proof is None else {**answer, "proof": {"passed": not proof, "reasons": proof}}):
        return
    if proof is not None:
        verdict = f"are advice: {'; '.join(map(str, proof))}" if proof else "may be a witness"
        print(f"{given.site}: outlines {verdict} (stored)")
    _print_score(answer)


def _read_patch_options(given: ScoreArguments) -> "DataTable":
    """Return the keys of the table `[data]` that options set. Raise BadParameter if they do not suit the layout."""
    is_folder = given.layout == "folder"
    if given.bands is not None and not is_folder:
        raise typer.BadParameter("needs --layout folder; other formats define their bands", param_hint="--bands")
    if given.landslide is not None and not is_folder:
        raise typer.BadParameter(
            "needs --layout folder; other formats define the values of their masks", param_hint="--landslide"
        )
    if given.scale is not None and not is_folder:
        raise typer.BadParameter(
            "needs --layout folder; other formats define the unit of their values", param_hint="--scale"
        )
    named: DataTable = {}
    if given.bands is not None:
        named["bands"] = [name.strip() for name in given.bands.split(",")]
    if given.landslide is not None:
        named["landslide"] = given.landslide
    if given.scale is not None:
        named["scale"] = given.scale
    return named


def _print_score(answer: dict[str, Any]) -> None:
    seen = answer["trained_on"]
    if seen is None:
        why = f"there is no list of the training pictures of {answer['weights']}"
        print(f"how many of {answer['images']} pictures were used in the training is unknown: {why}")
    else:
        print(f"{seen} of {answer['images']} pictures were used in the training" + (SEEN if seen else ""))
    low, high = answer["intervals"]["f1"] or (None, None)
    print(
        f"{answer['images']} images, threshold {answer['threshold']}: "
        f"F1 {_format_value(answer['f1'])} ({low} to {high})"
    )
    for name in ("precision", "recall", "iou", "miou", "mf1", "oa", "kappa", "ap50"):
        print(f"  {name} {_format_value(answer[name], answer['undefined'].get(name))}")
    for size, value in answer["object_recall"]["covered_half"].items():
        print(f"  landslides of {size} px covered by half: {_format_value(value)}")
    if simple := answer.get("simple"):
        print(f"  simple maps fitted on {answer['simple_learnt_from']}:")
        for name, difference in simple["beside"].items():
            low, high = difference["interval"] or (None, None)
            print(f"  {name}: F1 {_format_value(simple[name]['f1'])}; F1 of the weights minus this: {low} to {high}")
    print(f"  note: {answer['note']}")


@dataclass(frozen=True, slots=True)
class _CriterionToProve:
    """A criterion for which a score is stored as proof, and who stores it."""

    db: "Database"
    site: "Site"
    criterion: "Criterion"
    actor: "Actor"


def _find_criterion(site: str, by: str | None) -> _CriterionToProve:
    """Return the criterion of a site that footprints must prove. Raise SlopewardError if there is none."""
    service, db = open_service()
    actor, declared_site = authenticate_actor(db, by, site), pick_site(service, site)
    criterion = next((x for x in list_criteria_needing_proof(declared_site) if x.kind.facts == "footprints"), None)
    if criterion is None:
        raise SlopewardError(f"no criterion of kind scene of {site} counts for the level, so no proof is needed")
    return _CriterionToProve(db, declared_site, criterion, actor)


def _choose_weights(db: "Database", declared_site: "Site", named: str | None) -> str:
    """Return the weights to prove: those in use, or named weights that `auto` may choose.

    Raises:
        SlopewardError: The site file names other weights.
    """
    if named is None:
        return db.run_read(find_weights, declared_site, datetime.now(UTC))
    own = declared_site.scenes.weights
    if own not in {AUTO, named} and not is_same(own, named):
        raise SlopewardError(
            f"the site file of {declared_site.id} names the weights {own}: a score of {named} is no proof for this "
            "site; leave out --weights"
        )
    return named


def _store_proof(to_prove: _CriterionToProve, answer: dict[str, Any], named_weights: str | None) -> "list[Message]":
    """Store a score on patches of a site, with the reviews of its footprints, as proof of its scene criteria.

    Return the reasons why the proof did not pass; none if it passed.
    """
    site_id = to_prove.site.id
    if answer.get("fitted_on"):
        raise SlopewardError(
            f"{answer['fitted_on']} of {answer['images']} patches were used in the training, so no proof is stored; "
            "score other patches"
        )
    logistic = answer.get("simple", {}).get("beside", {}).get("logistic", {})
    data = answer["data"]
    with to_prove.db.write() as c:
        now = datetime.now(UTC)  # a test is known from the instant at which it is written
        reviewed = [
            footprint
            for footprint in load_reviewed(c, site_id, model_hash=answer["model_hash"])
            if footprint.verdict is not None
        ]
        accepted = sum(footprint.verdict == "accept" for footprint in reviewed)
        low = (logistic.get("interval") or [None])[0]
        blocks = int(answer.get("blocks", answer["images"]))
        reasons = check_outlines(blocks, low, len(reviewed), accepted)
        result = {
            "f1": answer.get("f1"),
            "less_logistic": logistic,
            "reviewed": len(reviewed),
            "accepted": accepted,
            "data": data,
            "threshold": answer.get("threshold"),
            "patches_sha256": answer.get("patches_sha256"),
            "images": answer["images"],
            "blocks": blocks,
            "tries": answer.get("tries"),
        }
        option = "" if named_weights is None else f" --weights {named_weights}"
        made_by = f"slopeward scenes score --site {site_id}{option} --layout {data['source']} --folder {data['folder']}"
        proof = ModelTest("scene", OUTLINES, made_by, answer["model_hash"], tuple(reasons), result, blocks)
        add_proof(c, to_prove.site, to_prove.criterion, proof, to_prove.actor, now)
    return reasons


def _format_value(value: float | None, reason: str | None = None) -> str:
    return f"{value:.4f}" if value is not None else f"undefined ({reason or 'no such thing in the truth'})"
