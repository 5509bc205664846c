"""`slopeward scenes learn`: train a network on scenes and outlines of a site, and test it before it is offered."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from detection.imagery.footprints.records import DoubtfulTile
from monitor.api.cli import (
    LARGEST_SEED,
    catch_stop_signals,
    open_service,
    pick_site,
    print_if_json,
    print_note,
    show_progress,
    use_local_grid,
)
from monitor.api.errors import SlopewardError
from monitor.api.hooks import LabelledGround, SceneTrainingData
from monitor.api.plugins import hooks
from monitor.api.queries.models import SHORT_HASH_LENGTH, add_model
from monitor.api.worker import lock_scene_results

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from monitor.api.database import Database
    from monitor.api.sites import Site
    from slopeward_lab.learning.records import GroundLabel
    from slopeward_lab.learning.run import LearningResult

EXAMPLE: Final = "Example: slopeward scenes learn ./scenes --outlines landslides.geojson --site north-bench"
NOT_OFFERED: Final = 3  # exit status


@dataclass(frozen=True, slots=True)
class _LearningSite:
    """The site that the network is for."""

    site: "Site"
    db: "Database"
    models: Path  # folder of its trained networks
    data: SceneTrainingData


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnArguments:
    """Arguments and options of `slopeward scenes learn`."""

    folder: Annotated[
        Path | None,
        typer.Argument(
            help="Folder of GeoTIFFs, folders with scene.toml or satellite products. Default: scenes of --site."
        ),
    ] = None
    outlines: Annotated[
        Path | None, typer.Option(help="Polygons of landslides: GeoJSON, GeoPackage, shapefile, FlatGeobuf or KML.")
    ] = None
    looked: Annotated[
        Path | None,
        typer.Option(help="Polygons of the ground that was searched. Default: the box around the outlines."),
    ] = None
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Date of the landslides: scenes before it do not show the outlines."),
    ] = None
    from_page: Annotated[
        bool, typer.Option("--from-page", help="Train on the outlines and reviews of people on the page of --site.")
    ] = False
    site: Annotated[str | None, typer.Option("--site", help="Site that the network is for.")] = None
    out: Annotated[Path | None, typer.Option(help="Folder for the result. An interrupted run in it continues.")] = None
    minutes: Annotated[
        float,
        typer.Option(
            min=0.01,
            max=1440.0,
            help="Processor time in minutes. Time that is left is used for longer trials and other seeds.",
        ),
    ] = 4.0
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Seed of the split and the training.")] = 0


def learn(given: LearnArguments) -> None:
    """Train a scene network on your own scenes and outlines, and score it on images that were left out.

    The network is offered for use if its score on these images is higher than that of logistic regression, or nearly as
    high and above chance. The weights of a network that is not offered are stored, but no command uses them. Exit 3 if
    the network is not offered.
    """
    from detection.imagery.errors import TrainingPausedError
    from detection.imagery.neural.learner import Hooks
    from slopeward_lab.learning.records import LearningRequest
    from slopeward_lab.learning.run import learn as run_learning

    _check_words(given)
    with ExitStack() as stack:
        owner = None if given.site is None else _open_owner(given.site, stack)
        if owner is not None:
            _register_left(owner)
        target = given.out or _name_folder(given.folder, owner)
        if target.exists() and not target.is_dir():
            raise typer.BadParameter(f"{target} is no folder", param_hint="--out")
        if not stack.enter_context(lock_scene_results(target, wait=False)):
            raise SlopewardError(f"{target}: another process learns in it; wait, or name another folder with --out")
        name = given.site or re.sub(r"[^A-Za-z0-9_-]+", "-", target.resolve().name)[:40]
        try:
            labels, notes = _read_labels(given.outlines, given.looked, owner, given.since)
            scenes = _list_scenes(given.folder, owner)
            earlier = [] if owner is None else _list_answers(owner)
            request = LearningRequest(
                scenes,
                tuple(labels),
                target,
                name,
                around=not given.from_page,
                minutes=given.minutes,
                seed=given.seed,
                notes=tuple(notes),
                tried=tuple(read.get("seed", 0) for folder, read in earlier if folder != target),
            )
            stopped = stack.enter_context(catch_stop_signals())
            learnt = run_learning(request, print_note, Hooks(show_progress, lambda: bool(stopped)))
        except TrainingPausedError:
            print_note(f"stopped; the same command goes on in {target}")
            return
        answer = learnt.answer | ({} if owner is None else _keep(owner, learnt))
    if not print_if_json(answer):
        _show(answer, target, given.site)
    if not answer["offered"]:
        raise typer.Exit(NOT_OFFERED)


def _check_words(given: LearnArguments) -> None:
    if given.from_page == (given.outlines is not None):
        raise typer.BadParameter("give the outlines as a file, or take those of the page", param_hint="--outlines")
    if given.from_page and given.since:
        raise typer.BadParameter("outlines of the page are of one scene each", param_hint="--since")
    if given.from_page and given.site is None:
        raise typer.BadParameter("takes the page of a site", param_hint="--site")
    if given.folder is None and given.site is None:
        raise typer.BadParameter("name the folder of the scenes, or the --site whose scenes they are")


def _open_owner(name: str, stack: ExitStack) -> _LearningSite:
    service, db = open_service()
    stack.enter_context(db)
    site = pick_site(service, name)
    stack.enter_context(use_local_grid(site))
    with db.read() as c:
        data = hooks().scene_training_data(connection=c, site_id=name)
    if data is None:
        raise SlopewardError("this installation does not read scenes of sites; leave out --site")
    return _LearningSite(site, db, Path(service.paths.models) / "scenes" / name, data)


def _name_folder(folder: Path | None, owner: _LearningSite | None) -> Path:
    """Return the folder for the results.

    A site gets a new folder for each run, because weights in use must not change. A run that was interrupted continues
    in its folder.
    """
    from slopeward_lab.learning.run import ANSWER

    if owner is None:
        assert folder is not None
        return Path(f"{folder.resolve().name}-learnt")
    folders = sorted(path for path in owner.models.glob("[0-9]*") if path.is_dir())
    if folders and not (folders[-1] / ANSWER).is_file():
        return folders[-1]
    return owner.models / datetime.now(UTC).strftime("%Y%m%d-%H%M%S")


def _list_scenes(folder: Path | None, owner: _LearningSite | None) -> tuple[Path, ...]:
    """Return the scenes of a folder; without a folder, those scenes of the site that were read and still exist."""
    from slopeward_lab.learning.scenes import find_scenes

    if folder is not None:
        return find_scenes(folder)
    assert owner is not None
    paths = tuple(path for path in dict.fromkeys(map(Path, owner.data.scenes.values())) if path.exists())
    if not paths:
        raise SlopewardError(f"no scene of {owner.site.id} that was read is still there; name a folder")
    return paths


def _read_labels(
    outlines: Path | None, looked: Path | None, owner: _LearningSite | None, since: datetime | None
) -> "tuple[list[GroundLabel], list[str]]":
    from shapely.geometry import shape

    from slopeward_lab.learning.labels import read_labels
    from slopeward_lab.learning.records import LANDSLIDE, NOTHING, GroundLabel

    if outlines is not None:
        labels, notes = read_labels(outlines, looked)
        if since is None:
            return labels, notes
        # Ground that was searched without a finding shows no landslide on any day, also before `since`.
        return [
            label if label.kind == NOTHING else replace(label, since=since.replace(tzinfo=UTC)) for label in labels
        ], notes
    assert owner is not None
    labels = [GroundLabel(label.kind, shape(dict(label.geometry)), label.path) for label in owner.data.labels]
    if not any(label.kind == LANDSLIDE for label in labels):
        raise SlopewardError(f"nobody outlined a landslide on a scene of {owner.site.id}: nothing can be learnt")
    return labels, [_describe_origins(owner.data.labels)]


def _describe_origins(labels: Sequence[LabelledGround]) -> str:
    """Return how many labels of a page were drawn, and how many were found by a method and judged by a person.

    >>> _describe_origins([LabelledGround("s.tif", "landslide", {}, method) for method in ("sar", "")])
    'labels of the page: 1 drawn, 1 found by sar and judged by a person'
    """
    counts = Counter(label.method for label in labels)
    drawn = counts.pop("", 0)
    judged = [f"{count} found by {method} and judged by a person" for method, count in sorted(counts.items())]
    return f"labels of the page: {', '.join([f'{drawn} drawn', *judged])}"


def _keep(owner: _LearningSite, learnt: "LearningResult") -> dict[str, Any]:
    """Register weights that are offered, and store the tiles of the site of which the network is least certain."""
    answer = learnt.answer
    now = datetime.now(UTC)
    hashes = {Path(path).resolve(): scene_hash for scene_hash, path in owner.data.scenes.items()}
    tiles: dict[str, list[DoubtfulTile]] = {}
    for tile in learnt.unsure:
        scene_hash = hashes.get(tile.window.scene.resolve())
        if scene_hash is not None:
            tiles.setdefault(scene_hash, []).append(DoubtfulTile(tile.window.bounds, tile.doubt))
    with owner.db.write() as c:
        hooks().scene_training_finished(
            connection=c, site_id=owner.site.id, model_hash=answer["model_hash"], tiles=tiles, now=now
        )
        is_registered = answer["offered"] and _register(c, owner, answer, now)
    return {"on_page": sum(map(len, tiles.values())), "registered": is_registered}


def _register(c: "Connection", owner: _LearningSite, answer: dict[str, Any], now: datetime) -> bool:
    weights = Path(answer["weights"]).resolve()
    card = json.loads(weights.with_suffix(".json").read_text(encoding="utf-8"))
    return add_model(
        c,
        answer["model_hash"],
        kind=card["name"],
        task="scene",
        site=owner.site.id,
        path=str(weights),
        card=card,
        now=now,
        reason=f"learnt from outlines: {answer['gate']['reasons'][0]}",
    )


def _list_answers(owner: _LearningSite) -> list[tuple[Path, dict[str, Any]]]:
    from slopeward_lab.learning.run import ANSWER

    paths = sorted(owner.models.glob(f"[0-9]*/{ANSWER}"))
    return [(path.parent, json.loads(path.read_text(encoding="utf-8"))) for path in paths]


def _register_left(owner: _LearningSite) -> None:
    """Register the weights of the last run if it ended before it registered them."""
    for _, answer in _list_answers(owner)[-1:]:
        if answer["offered"] and Path(answer["weights"]).with_suffix(".json").is_file():
            with owner.db.write() as c:
                if _register(c, owner, answer, datetime.now(UTC)):
                    print_note(f"weights of the run before are registered now: {answer['weights']}")


def _show(answer: dict[str, Any], target: Path, site: str | None) -> None:
    from detection.imagery.weights_file import may_be_used
    from slopeward_lab.learning.run import UNSURE

    gate, tiles = answer["gate"], answer["tiles"]
    for line in answer["told"]:
        print(f"note: {line}")
    f1, less = gate["f1"], gate["less_logistic"]
    if validated := answer.get("cross_validation"):
        print(
            f"{answer['epochs']} passes over {tiles['train']} tiles; F1 {validated['f1']:.3f} on tiles not learnt from "
            f"(cross-validation in {validated['folds']} folds); {answer['cpu_s']:.0f} s in all"
        )
    print(
        f"{tiles['left_out']} tiles left out, {gate['blocks']} images or blocks: F1 of the network {f1['network']:.3f} "
        f"({_span(gate['interval'])}), of logistic regression {f1['logistic']:.3f}, "
        f"difference {_signed(less['difference'])} ({_span(less['interval'])})"
    )
    put_to_use = may_be_used(answer)
    chosen = "offered" if put_to_use else "offered as a candidate" if answer["offered"] else "not offered"
    print(f"{chosen}: {gate['reasons'][0]}")
    more = f", {answer['on_page']} of them on the page of {site}" if site else ""
    print(f"where a look would help most: {target / UNSURE} ({answer['least_sure']} tiles{more})")
    weights = Path(answer["weights"]).resolve()
    print(f"weights: {weights}")
    if answer["offered"] and site and not answer["registered"]:
        print("these weights were registered before; the registry stays as it is")
    if put_to_use and site:
        short_hash = answer["model_hash"][:SHORT_HASH_LENGTH]
        print(f"to use them: slopeward scenes promote {site} {short_hash} --reason WHY")


def _span(interval: list[float] | None) -> str:
    return "no interval" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"


def _signed(value: float | None) -> str:
    return "undefined" if value is None else f"{value:+.3f}"
