"""From what people said of footprints to a retraining candidate, and the gate that it must pass to be used."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from detection.geojson import Geometry
from detection.imagery.data.catalogue import open_data
from detection.imagery.data.patches import IGNORED, Patches, hold_arrays, join
from detection.imagery.errors import TrainingRecipeError
from detection.imagery.training.model_card import read_normalisation, render_card
from detection.imagery.training.recipe_file import show_by
from detection.imagery.training.scoring import ScoringResult, compare, score_maps
from detection.imagery.training.seen import write_seen
from detection.imagery.weights_file import ModelCard, WeightsGate

if TYPE_CHECKING:
    from detection.imagery.neural.checkpoint import SegmentationModel

log = logging.getLogger(__name__)
LEAST_REVIEWS = 20
HELD_BACK_EVERY = 4
"""Every fourth review is not learnt from: it judges the candidate."""
RING_PX = 4
"""So far around an outline a person looked at, the ground is taken for what the outline says it is not."""
SHARE = 0.25
"""Reviews are repeated until they are about this share of what is learnt from."""
NOT_WORSE = 0.02
"""The candidate's F1 on the held part of train may lie this much below, at the lower end of the interval."""
EPOCHS, LEARNING_RATE = 3, 5e-4


@dataclass(frozen=True, slots=True)
class Review:
    """A footprint with a person's word on it."""

    scene_path: str  # raster or folder that it was found on
    acquired_at: str | None  # ISO time, for a raster that does not tell
    geometry: Geometry  # the footprint, GeoJSON in lon/lat
    verdict: str  # `accept`, `reject` or `redraw`
    redrawn: Geometry | None = None  # with `redraw`: the outline as it is


def retrain(payload: dict[str, Any]) -> dict[str, Any]:
    """Train a candidate from reviews and the weights' own train part, and judge it by the gate.

    The gate looks at the held part of train and at every fourth review, none of which is learnt from. The test part is
    looked at only where nothing of train was held, as with weights learnt from outlines. A candidate that fails keeps
    its reasons in its card, and no detector will load it.

    `payload`: `weights` (in use), `out` (.safetensors to write), `reviews` (list of mappings as `Review`), `data`
    (folder of the weights' own data, None for generated), optional `least` (reviews needed), `seed`.

    Returns weights (path), gate (passed, reasons, figures), reviews (used, held back).

    Raises:
        TrainingRecipeError: too few reviews, or absent data.
        SceneError: a scene of a review cannot be read any more.
    """
    from detection.imagery.data.splits import split
    from detection.imagery.neural.checkpoint import load_model, save_model
    from detection.imagery.neural.learner import ImageryTrainingSettings
    from detection.imagery.neural.training import train_patches
    from detection.imagery.weights_file import weights_path

    reviews = [Review(**review) for review in payload["reviews"]]
    least = int(payload.get("least", LEAST_REVIEWS))
    if len(reviews) < least:
        raise TrainingRecipeError(f"{len(reviews)} reviews; {least} are needed before a candidate is trained")
    model = load_model(str(payload["weights"]))
    card = model.card
    patches = cut_reviews(reviews, model)
    held_back = np.arange(0, len(patches), HELD_BACK_EVERY)
    used = patches.take(np.setdiff1d(np.arange(len(patches)), held_back))
    train, left_out = _own_parts(card, model.bands, payload.get("data"))
    old = ImageryTrainingSettings(
        **{**_known(card["training"]), "seed": int(payload.get("seed", card["training"]["seed"]))}
    )
    fit, held = split(train, old.split, old.held_share, int(card["training"]["seed"]))
    # weights that learnt from all of train: what was left out then judges, at the threshold that is theirs
    judging = train.take(held) if len(held) else left_out
    repeats = max(1, round(SHARE / (1 - SHARE) * len(fit) / max(len(used), 1)))
    native, show = join(train, *[used] * repeats).remember(), show_by(card["radiometry"])
    learnt = show(native).remember()
    parts = np.concatenate([fit, np.arange(len(train), len(learnt))]), held
    settings = replace(
        old,
        epochs=EPOCHS,
        steps=0,
        learning_rate=LEARNING_RATE,
        warmup_steps=10,
        time_limit_cpu_s=0.0,
        threshold=0.0 if len(held) else old.threshold,
    )
    normalisation = read_normalisation(card)
    candidate = train_patches(
        learnt,
        settings,
        parts=parts,
        network=load_model(str(payload["weights"])).network,
        normalisation=normalisation,
        native=(native, show),
    )
    news: ModelCard = {"threshold": candidate.threshold, "temperature": candidate.calibration.temperature}
    changed = replace(model, network=candidate.network, card={**card, **news})
    gate = compare_candidate(
        [(_map(m, judging), _map(m, patches.take(held_back))) for m in (changed, model)],
        "held part of train" if len(held) else "pictures that were left out",
    )
    facts = {
        "learnt_from": len(used),
        "held_back": len(held_back),
        "repeats": repeats,
        "accepted": sum(r.verdict == "accept" for r in reviews),
        "rejected": sum(r.verdict == "reject" for r in reviews),
        "redrawn": sum(r.verdict == "redraw" for r in reviews),
    }
    out = Path(payload["out"])
    new_card: ModelCard = {
        **card,
        **news,
        "name": f"{card['name']}-reviewed",
        "calibration": asdict(candidate.calibration),
        "from_model_hash": model.model_hash,
        "reviews": facts,
        "gate": gate,
        "history": candidate.history,
        "training": {**asdict(settings), "best_epoch": candidate.best_epoch, "cpu_s": round(candidate.cpu_s, 1)},
        "metrics": {**card["metrics"], "note": "of the weights it was trained on from; not scored on test"},
    }
    save_model(out, candidate.network, new_card)
    write_seen(out, used, weights_path(str(payload["weights"])))
    out.with_suffix(".md").write_text(render_card(new_card), encoding="utf-8")
    log.info("candidate %s: %s", out, "; ".join(gate["reasons"]))
    return {"weights": str(out), "gate": gate, "reviews": facts}


def compare_candidate(
    scored: Sequence[tuple[ScoringResult, ScoringResult]], where: str = "held part of train"
) -> WeightsGate:
    """Compare candidate and weights in use; both given as (scores on held patches, scores on reviews held back).

    It passes when on the held patches its F1 is not worse (lower end of the paired interval above -.02), and on the
    reviews held back it calls more pixels right than the weights in use, or all of them.
    """
    (new_held, new_reviews), (old_held, old_reviews) = scored
    held = compare(new_held.confusions, old_held.confusions)
    right = [one.report["oa"] for one in (new_reviews, old_reviews)]
    reasons = []
    not_worse = held["interval"] is not None and held["interval"][0] > -NOT_WORSE
    reasons.append(
        f"{where}: F1 {_format_value(new_held.report['f1'])} against {_format_value(old_held.report['f1'])}, "
        f"difference {held['interval']}: {'not worse' if not_worse else 'may be worse'} by {NOT_WORSE}"
    )
    better = None not in right and (right[0] > right[1] or right[0] == 1.0)
    reasons.append(
        f"reviews held back: {_format_value(right[0])} of the reviewed pixels right against {_format_value(right[1])}: "
        f"{'better' if better else 'not better'}"
    )
    return {
        "passed": bool(not_worse and better),
        "reasons": reasons,
        "held": {"candidate_f1": new_held.report["f1"], "in_use_f1": old_held.report["f1"], **held},
        "reviews": {"candidate_right": right[0], "in_use_right": right[1], "images": len(new_reviews.names)},
    }


def cut_reviews(reviews: Sequence[Review], model: "SegmentationModel") -> Patches:
    """Cut one patch of the model's size around each reviewed footprint, in the model's values.

    What a person judged is 0 or 1, also a ring around it; everything else in the patch is not known.
    """
    from detection.imagery.scene.radiometry import measure_stretch
    from detection.imagery.scene.reader import open_scene
    from detection.imagery.scene.scene import read_scene

    side = int(model.card.get("tile_px", 128))
    images, masks = {}, {}
    by_scene: dict[tuple[str, str | None], list[int]] = {}
    for number, review in enumerate(reviews):
        by_scene.setdefault((review.scene_path, review.acquired_at), []).append(number)
    for (path, at), numbers in by_scene.items():
        scene = read_scene(Path(path), datetime.fromisoformat(at) if at else None)
        with open_scene(scene, model.bands) as reader:
            stretch = measure_stretch(reader, model.card)
            for number in numbers:
                outline, redrawn = (
                    _in_pixels(geometry, reader.grid) if geometry else None
                    for geometry in (reviews[number].geometry, reviews[number].redrawn)
                )
                column, row = _corner(outline, side, reader.grid)
                size = min(side, reader.grid.width), min(side, reader.grid.height)
                values, valid = reader.read(column, row, *size)
                image = np.zeros((len(model.bands), side, side), np.float32)
                image[:, : size[1], : size[0]] = stretch.apply(values, column, row)
                known = np.zeros((side, side), bool)
                known[: size[1], : size[0]] = valid
                mask = paint_verdict(outline, reviews[number].verdict, redrawn, (column, row), side)
                mask[~known] = IGNORED
                image[:, ~known] = read_normalisation(model.card)[0][:, None]
                images[number], masks[number] = image, mask
    order = range(len(reviews))
    return hold_arrays(np.stack([images[n] for n in order]), np.stack([masks[n] for n in order]), model.bands)


def paint_verdict(outline: Any, verdict: str, redrawn: Any, corner: tuple[int, int], side: int) -> NDArray[np.uint8]:
    """Mask of one review in its window: 1 landslide, 0 none, 255 not judged; outlines in pixels of the scene."""
    found = _rasterise(outline, corner, side)
    truth = _rasterise(redrawn, corner, side) if verdict == "redraw" else found
    looked_at = ndimage.binary_dilation(found | truth, iterations=RING_PX)
    mask = np.full((side, side), IGNORED, np.uint8)
    mask[looked_at] = 0
    if verdict != "reject":
        mask[truth] = 1
    return mask


def _rasterise(outline: Any, corner: tuple[int, int], side: int) -> NDArray[np.bool_]:
    x, y = np.meshgrid(np.arange(side) + corner[0] + 0.5, np.arange(side) + corner[1] + 0.5)
    return np.asarray(shapely.contains_xy(outline, x, y))


def _in_pixels(geometry: Geometry, grid: Any) -> Any:
    from detection.imagery.raster.areas import map_outline

    def place(lon: NDArray[Any], lat: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        pairs = [grid.pixel_of(float(a), float(b)) for a, b in zip(lon, lat, strict=True)]
        return np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs])

    return map_outline(shapely.geometry.shape(dict(geometry)), place)


def _corner(outline: Any, side: int, grid: Any) -> tuple[int, int]:
    left, top, right, bottom = outline.bounds
    column = round((left + right - side) / 2)
    row = round((top + bottom - side) / 2)
    return max(0, min(column, grid.width - side)), max(0, min(row, grid.height - side))


def _own_parts(card: ModelCard, bands: tuple[str, ...], data: Any) -> tuple[Patches, Patches]:
    """The train and the test part of the weights' own data."""
    folder = Path(data) if data else None
    parts = open_data(card["data"]["recipe"], bands, int(card["training"]["seed"]), folder)
    resize_px = card.get("resize_px")
    train, test = ((one.resize(int(resize_px)) if resize_px else one).remember() for one in parts)
    return train, test


def _known(training: Mapping[str, Any]) -> dict[str, Any]:
    from dataclasses import fields

    from detection.imagery.neural.learner import ImageryTrainingSettings

    names = {field.name for field in fields(ImageryTrainingSettings)}
    return {key: tuple(value) if isinstance(value, list) else value for key, value in training.items() if key in names}


def _map(model: "SegmentationModel", patches: Patches) -> ScoringResult:
    from detection.imagery.training.evaluation import map_patches

    return score_maps(map_patches(model, patches), float(model.card["threshold"]), objects=False)


def _format_value(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
