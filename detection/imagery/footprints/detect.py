"""Detect landslides on one scene: open, check, normalise, segment, outline, caution, write.

`detect` returns the JSON that is written beside the files as `run.json`.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from detection.imagery.errors import (
    DomainError,
    FinerPixelsError,
    ImageryError,
    NoValidPixelsError,
    RadiometryError,
    SceneError,
    TooLargeError,
    UnfitWeightsError,
)
from detection.imagery.footprints.cautions import add_outline_cautions, describe_coarser, list_cautions
from detection.imagery.footprints.choose import (
    WeightsAttempt,
    check_baseline,
    check_doubts,
    check_pixels,
    check_size,
    choose_weights,
    describe_broken,
    describe_refusals,
    describe_remedy,
)
from detection.imagery.footprints.index_map import MODEL as INDEX_MODEL
from detection.imagery.footprints.index_map import IndexModel, NoNetwork
from detection.imagery.footprints.inputs import OpenScene, open_inputs, read_input_scene
from detection.imagery.footprints.options import FORMATS, DetectionOptions, Quality
from detection.imagery.footprints.outputs import (
    add_folder_to_outputs,
    classify_steps,
    open_workplace,
    read_stored_result,
    write_first,
    write_outputs,
)
from detection.imagery.footprints.polygons import OutlineRule, find_footprints, threshold_steps
from detection.imagery.footprints.prior import describe_prior
from detection.imagery.footprints.probabilities import (
    COLUMNS,
    PART_ROWS,
    Classifier,
    EightViews,
    MappingRun,
    TilingPlan,
    make_plan,
    map_scene,
    measure_flips,
    name_classes,
    resample_to_scene,
)
from detection.imagery.footprints.records import (
    AUTO,
    INDEX,
    DemFacts,
    DetectionFacts,
    DetectionPlan,
    Footprint,
    GridFacts,
    SceneDetection,
    TerrainFacts,
)
from detection.imagery.optional_bands import list_optional_bands
from detection.imagery.raster.areas import geodesic_pixel_m2, pixel_area_m2
from detection.imagery.raster.components import NODATA
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.raster import ByteRaster
from detection.imagery.raster.terrain import TerrainReader
from detection.imagery.registry import find_entry
from detection.imagery.scene.border import Border, mask_borders
from detection.imagery.scene.built_ground import open_built_ground
from detection.imagery.scene.fill import mask_fills, read_rim
from detection.imagery.scene.offsets import find_landsat
from detection.imagery.scene.optional_reader import OptionalBandReader
from detection.imagery.scene.radiometry import RadiometricStretch, measure_stretch, sample_pixels
from detection.imagery.scene.reader import BandReader
from detection.imagery.scene.resized import ReadAt, choose_pixel_m, fit_to_network
from detection.imagery.scene.scene import Scene, hash_file, scene_hash
from detection.imagery.scene.white_ground import open_white_ground, select_colours
from detection.imagery.training.domain import check_ground, find_doubts, find_other_types
from detection.imagery.weights_file import weights_path
from detection.reasons import Explanation, Reason, explain_file

if TYPE_CHECKING:
    from detection.imagery.neural.model_file import SegmentationModel

    Model = SegmentationModel | IndexModel

log = logging.getLogger(__name__)

Progress = Callable[[str, float], None]
"""Called with the name of a stage and the share of it that is done. The stages follow each other in this order."""
BRIGHTNESS, MAP, JOINS, OUTLINES, FILES = "brightness", "map", "joins of tiles", "outlines", "files"
# If `auto` resamples a scene to the pixels of a training, it refuses weights that need more pixels than this. A network
# of a quarter of the full width maps a million pixels in 1.8 s on one core, so these take half of the 900 s that a job
# has by default.
RESAMPLED_MOST_PX = 1 << 28
# Smallest footprint of weights whose card does not state one.
MINIMUM_AREA_M2 = 900.0


def detect(options: DetectionOptions, progress: Progress = lambda *_: None) -> SceneDetection:
    """Find landslides in one scene.

    The same scene, model and options give the same bytes. A second call with the same `out_dir` reads the stored result
    back, unless `force` is set. Every output is written under a temporary name and renamed; a failure leaves nothing.
    Only one run may use an `out_dir` at a time.

    Raises ImageryError: one clear line; the subclass names the cause.
    """
    scene = read_input_scene(options)
    return choose_weights(options, partial(_detect, scene, options, progress))


def _detect(scene: Scene, options: DetectionOptions, progress: Progress, attempt: WeightsAttempt) -> SceneDetection:
    """Find landslides with the weights of one attempt; see `choose_weights`."""
    options = attempt.apply_to(options)
    model = _load(attempt.weights)
    plan = plan_tiles(model, options)
    facts = _collect_facts(scene, model, plan, options)
    facts |= {"named": options.weights != AUTO, "refused": [refusal.to_json() for refusal in attempt.refused]}
    if options.out_dir is not None and not options.force:
        stored = read_stored_result(options.out_dir, facts, later=options.later)
        if stored is not None:
            return stored
    with ExitStack() as stack:
        work_dir = stack.enter_context(open_workplace(options.out_dir))
        check_grid = partial(_check_weights, model, options, attempt)
        opened = stack.enter_context(open_inputs(scene, model.bands, options, work_dir, check_grid))
        view = _choose_network_view(opened, model, options)
        edges = _set_aside_edges(opened, work_dir)
        stretch, doubts = _normalise(opened, view.reader, model, options, attempt, partial(progress, BRIGHTNESS))
        classifier = _make_classifier(model, plan, options.quality)
        optional = _open_optional_bands(opened, view.reader, model)
        run = MappingRun(view.reader, classifier, stretch, plan, len(facts["classes"]), optional)
        segmentation = _segment(run, opened, view, model, facts["threshold"], work_dir, progress)
        linear_classes = model.card.get("linear_classes", ["crack"])
        footprints, left_out = _outline(segmentation.steps, opened, facts, linear_classes, progress)
        result = _make_result(opened, model, facts, attempt, view, edges, stretch, segmentation, footprints)
        _add_warnings(result, opened, model, attempt, doubts, left_out)
        _write_files(result, opened, segmentation.steps, work_dir, options, partial(progress, FILES))
    log.info("%s: %d footprints", scene.path, len(footprints))
    return add_folder_to_outputs(result, options.out_dir)


# ---- Model -----------------------------------------------------------------------------------------------------
def _load(weights: str) -> "Model":
    if weights == INDEX:
        return INDEX_MODEL
    # If the weights are not installed, this raises before PyTorch is needed, and the index is used.
    weights_path(weights)
    from detection.imagery.neural.model_file import load_model

    return load_model(weights)


def _make_segmenter(model: "Model") -> Classifier:
    if isinstance(model, IndexModel):
        return NoNetwork()
    from detection.imagery.neural.inference import Segmenter

    return Segmenter(model)


def _make_classifier(model: "Model", plan: TilingPlan, quality: Quality) -> Classifier:
    """Return what maps the tiles of a scene with a quality."""
    segmenter = _make_segmenter(model)
    return EightViews(segmenter, plan.stride) if _find_quality(model, quality) == "best" else segmenter


def _find_quality(model: "Model", quality: Quality) -> Quality:
    """Return the quality that a model is used with. The index has no other than `standard`."""
    return "standard" if isinstance(model, IndexModel) else quality


def plan_tiles(model: "Model", options: DetectionOptions) -> TilingPlan:
    """Return how a scene is cut into parts for a model, see `make_plan`."""
    if isinstance(model, IndexModel):  # it maps each pixel by itself, so it needs no halo
        return TilingPlan("rows", COLUMNS, 0, 1)
    entry = find_entry(model.card["network"]["name"])
    return make_plan(model.card, entry, options.tile, options.halo, options.quality)


def _collect_facts(scene: Scene, model: "Model", plan: TilingPlan, options: DetectionOptions) -> DetectionFacts:
    """Return everything that a result depends on. A stored result with the same facts is not computed again."""
    prior = options.prior or scene.prior
    dem: DemFacts | None = None
    if scene.dem_tiles:
        dem = {"tiles": [{"file": name, "sha256": digest} for name, digest in scene.dem_tiles]}
    elif scene.dem is not None:
        dem = {"file": scene.dem.name, "sha256": hash_file(scene.dem)}
    threshold = options.threshold
    if threshold is None or isinstance(model, IndexModel):  # a threshold is a probability; an index has none
        threshold = model.card["threshold"]
    minimum_area_m2 = options.minimum_area_m2
    if minimum_area_m2 is None:
        minimum_area_m2 = model.card.get("minimum_area_m2", MINIMUM_AREA_M2)
    return {
        "scene_hash": scene_hash(scene, options.owner),
        "model": str(model.card["name"]),
        "model_hash": model.model_hash,
        "acquired_at": scene.acquired_at.isoformat(),
        "role": scene.role,
        "classes": list(name_classes(model.card)),
        "quality": _find_quality(model, options.quality),
        "threshold": float(threshold),
        "minimum_area_m2": float(minimum_area_m2),
        "blend": plan.blend,
        "tile": plan.tile,
        "halo": plan.halo,
        "scale": options.scale,
        "offset": scene.offset,
        "resample_to_m": options.resample_to_m,
        "dem": dem,
        "prior": describe_prior(prior) if prior else None,
        "slope_gate_deg": options.slope_gate_deg,
        "partial": options.partial,
        "formats": [name for name in FORMATS if name in options.formats],
    }


# ---- Check -----------------------------------------------------------------------------------------------------
def _check_weights(model: "Model", options: DetectionOptions, attempt: WeightsAttempt, grid: Grid) -> None:
    """Refuse weights that `auto` tries by the card and the grid, before terrain is made or the scene is read.

    Raises FinerPixelsError, UnfitWeightsError: see `check_baseline`, `check_pixels` and `check_size`.
    """
    if options.weights != AUTO or isinstance(model, IndexModel):
        return
    check_baseline(model.card)
    if attempt.coarser_m:
        check_size(grid)
    pixel_m = geodesic_pixel_m2(grid) ** 0.5 if grid.placed and not options.resample_to_m else None
    check_pixels(grid, model.card, is_resampled=pixel_m is not None and choose_pixel_m(pixel_m, model.card) is not None)


@dataclass(frozen=True, slots=True)
class _NetworkView:
    """The scene on the grid on which the network maps it."""

    reader: BandReader
    read_at: ReadAt | None  # that grid, if it is not the grid of the scene


def _choose_network_view(opened: OpenScene, model: "Model", options: DetectionOptions) -> _NetworkView:
    """Return the scene resampled to the pixels of the training if the card allows that, else on its own grid.

    Raises:
        UnfitWeightsError: the resampled scene would have more pixels than a job has time for, and `auto` tries the
            weights.
        TooLargeError: the resampled scene would have more pixels than the limit.
    """
    if options.resample_to_m:
        return _NetworkView(opened.reader, None)
    reader, read_at = fit_to_network(opened.reader, model.card)
    if read_at:
        pixels = read_at.width * read_at.height
        limit = options.limits.pixels
        if options.weights == AUTO and pixels > min(limit, RESAMPLED_MOST_PX):
            values = {"width": read_at.width, "height": read_at.height, "pixel": read_at.pixel_m}
            raise UnfitWeightsError(Reason("weights.too_long", values))
        if pixels > limit:
            described = f"{read_at.width} x {read_at.height} pixels of {read_at.pixel_m:g} m"
            raise TooLargeError(f"{opened.scene.path}: {described}, the limit is {limit:,}")
    return _NetworkView(reader, read_at)


@dataclass(frozen=True, slots=True)
class _Edges:
    """Nodata at the edges of a scene that its files do not declare."""

    fills: tuple[float, ...]
    borders: list[Border]


def _set_aside_edges(opened: OpenScene, work_dir: Path) -> _Edges:
    """Mask fill values and noisy borders of a scene, because they show no ground."""
    rim = read_rim(opened.reader)
    fills = mask_fills(opened.reader, rim, work_dir)
    return _Edges(fills, mask_borders(opened.reader, rim, work_dir, fills))


# ---- Normalise -------------------------------------------------------------------------------------------------
def _normalise(
    opened: OpenScene,
    network_reader: BandReader,
    model: "Model",
    options: DetectionOptions,
    attempt: WeightsAttempt,
    progress: Callable[[float], None] = lambda _: None,
) -> tuple[RadiometricStretch, list[Explanation]]:
    """Return how counts are converted to model values, and in which respects the scene is unlike the training.

    For the index, the second value is why no network is used.

    Raises:
        NoValidPixelsError: the scene has no valid pixel.
        DomainError, RadiometryError: the values are not those that the weights need, or `auto` tries the weights and
            the scene is unlike their training.
    """
    reader, scene, card = opened.reader, opened.scene, model.card
    try:
        stretch = measure_stretch(network_reader, card, options.scale, progress)
        if isinstance(model, IndexModel):
            check_ground(reader, stretch, card)
            return stretch, [*describe_refusals(attempt.refused)]
        # Resampling averages noise away, so noise is measured on the pixels of the scene.
        original = None if network_reader is reader else (reader, measure_stretch(reader, card, options.scale))
        doubts = find_doubts(network_reader, stretch, card, original)
        if options.scale is None:
            doubts += find_other_types(reader, stretch, card)
    except NoValidPixelsError as error:
        raise NoValidPixelsError(f"{scene.path}: {error}") from None
    except FinerPixelsError as error:
        remedy = describe_remedy(scene.path, options.weights, error.trained_m)
        values = {"model": card["name"], "text": error.explanation, "mend": remedy}
        raise FinerPixelsError(
            explain_file(scene.path, Reason("weights.refused_finer", values)), error.trained_m
        ) from None
    except (DomainError, RadiometryError) as error:
        prefix = "" if options.weights == AUTO else f"refused by {card['name']}: "
        raise type(error)(f"{scene.path}: {prefix}{error}{_name_product(reader, scene)}") from None
    if options.weights == AUTO and not attempt.accepts_doubts:
        check_doubts(doubts, card)
    return stretch, doubts


def _name_product(reader: BandReader, scene: Scene) -> str:
    """Return which product the counts of a refused scene may be from and what to do; empty if unknown."""
    if scene.calibration:
        return ""
    try:
        hint = find_landsat(sample_pixels(reader))
    except SceneError:
        return ""
    return f"; {hint}" if hint else ""


# ---- Segment ---------------------------------------------------------------------------------------------------
def _open_optional_bands(opened: OpenScene, network_reader: BandReader, model: "Model") -> OptionalBandReader | None:
    """Return the reader of the optional bands of a model; None if it has none, or if the scene has no DEM."""
    names = list_optional_bands(model.card)
    if not names or opened.terrain is None:
        return None
    return OptionalBandReader(opened.terrain, names, opened.reader.grid, network_reader.grid)


@dataclass(frozen=True, slots=True)
class _Segmentation:
    """The probability map of a scene."""

    steps: ByteRaster  # probabilities in steps of 1/200 on the grid of the scene, one band per class
    valid_px: int
    flip_rate: float | None  # see `measure_flips`; None for exact tiles
    flip_px: int


def _segment(
    run: MappingRun,
    opened: OpenScene,
    view: _NetworkView,
    model: "Model",
    threshold: float,
    work_dir: Path,
    progress: Progress,
) -> _Segmentation:
    """Map a scene. If the network works on another grid, resample the map to the grid of the scene.

    Raises NoValidPixelsError, RadiometryError: no pixel has a probability.
    """
    steps = ByteRaster(work_dir / "steps.tif", opened.reader.grid, run.classes)
    network_steps = ByteRaster(work_dir / "drawn.tif", run.reader.grid, run.classes) if view.read_at else steps
    with network_steps.writing() as write:
        valid_px = map_scene(run, write, partial(progress, MAP))
    if view.read_at:
        valid_px = resample_to_scene(network_steps, steps, opened.reader)
    if not valid_px:
        raise _explain_empty(opened, model)
    flip_rate, flip_px = None, 0
    if run.plan.blend == "hann":
        progress(JOINS, 0.0)
        with network_steps.reading() as read:
            flip_rate, flip_px = measure_flips(run, read, threshold_steps(threshold))
    return _Segmentation(steps, valid_px, flip_rate, flip_px)


def _explain_empty(opened: OpenScene, model: "Model") -> ImageryError:
    path = opened.scene.path
    hint = _name_product(opened.reader, opened.scene)
    if hint:
        return RadiometryError(f"{path}: refused by {model.card['name']}: as bright as a cloud{hint}")
    return NoValidPixelsError(
        f"{path}: all pixels of the scene are nodata, masked, as bright as a cloud, or outside of the aoi"
    )


# ---- Outline ---------------------------------------------------------------------------------------------------
def _outline(
    steps: ByteRaster, opened: OpenScene, facts: DetectionFacts, linear_classes: list[str], progress: Progress
) -> tuple[list[Footprint], Counter[str]]:
    """Return the footprints of all classes, and how many were left out by reason: `hugging`, `flat` or `small`."""
    footprints: list[Footprint] = []
    left_out: Counter[str] = Counter()
    gate_deg = facts["slope_gate_deg"]
    # Every pixel is read twice: to label the components, and to outline each of them.
    pixels_to_read = 2 * steps.grid.width * steps.grid.height * len(facts["classes"])
    pixels_read = 0

    def count_small() -> None:
        left_out["small"] += 1

    with steps.reading() as read:
        for number, kind in enumerate(facts["classes"], start=1):

            def read_class(*window: int, number: int = number) -> NDArray[np.uint8]:
                nonlocal pixels_read
                values: NDArray[np.uint8] = read(*window, number)
                pixels_read += values.size
                progress(OUTLINES, min(1.0, pixels_read / pixels_to_read))
                if steps.count == 1:
                    return values
                classes = np.stack([read(*window, band) for band in range(1, steps.count + 1)])
                is_likeliest = classify_steps(classes, threshold_steps(facts["threshold"])) == number
                return np.where(is_likeliest | (values == NODATA), values, 0).astype(np.uint8)

            rule = OutlineRule(
                threshold=facts["threshold"],
                minimum_area_m2=facts["minimum_area_m2"],
                minimum_hole_m2=facts["minimum_area_m2"],
                identity=f"{facts['scene_hash']}:{facts['model_hash']}",
                kind=kind,
                linear=kind in linear_classes,
            )
            for footprint in find_footprints(read_class, steps.grid, rule, opened.sampler, count_small):
                slope_deg = footprint.mean_slope_deg
                if footprint.hugs_nodata:
                    left_out["hugging"] += 1
                elif gate_deg is not None and slope_deg is not None and slope_deg < gate_deg:
                    left_out["flat"] += 1
                else:
                    footprints.append(footprint)
    return footprints, left_out


# ---- Result, warnings and cautions -----------------------------------------------------------------------------
def _make_result(
    opened: OpenScene,
    model: "Model",
    facts: DetectionFacts,
    attempt: WeightsAttempt,
    view: _NetworkView,
    edges: _Edges,
    stretch: RadiometricStretch,
    segmentation: _Segmentation,
    footprints: list[Footprint],
) -> SceneDetection:
    """Return the result without warnings, cautions and outputs, which are computed from it."""
    grid, scene = opened.reader.grid, opened.scene
    return {
        **facts,
        "weights": attempt.weights,
        **_describe_grid(grid, view.read_at),
        "valid_share": round(segmentation.valid_px / (grid.width * grid.height), 6),
        "unreadable_share": round(opened.reader.unreadable_share, 6),
        "flip_rate": segmentation.flip_rate,
        "flip_pixels": segmentation.flip_px,
        "terrain": _describe_terrain(opened.terrain, list_optional_bands(model.card)),
        "qa": None,
        "fills": list(edges.fills),
        "borders": [border._asdict() for border in edges.borders],
        "cloudy": [list(window) for window in stretch.cloudy],
        "calibration": {"gain": scene.gain, "offset": scene.offset, "source": scene.calibration},
        "coarser_than_m": opened.coarser_than_m if attempt.coarser_m else None,
        "warnings": [],
        "polygons": [footprint.to_json() for footprint in footprints],
        "outputs": {},
    }


def _describe_terrain(terrain: TerrainReader | None, optional_bands: tuple[str, ...]) -> TerrainFacts | None:
    if terrain is None:
        return None
    facts: TerrainFacts = {"covered_share": round(terrain.covered_share, 4)}
    if optional_bands:
        facts["optional_bands"] = list(optional_bands)
    return facts


def _describe_grid(grid: Grid, read_at: ReadAt | None) -> GridFacts:
    return {
        "crs": grid.crs_name,
        "width": grid.width,
        "height": grid.height,
        "pixel_area_m2": round(pixel_area_m2(grid), 4) if grid.placed else None,
        "read_at": read_at._asdict() if read_at else None,
    }


def _add_warnings(
    result: SceneDetection,
    opened: OpenScene,
    model: "Model",
    attempt: WeightsAttempt,
    doubts: list[Explanation],
    left_out: Counter[str],
) -> None:
    """Add the warnings to a result, and to each footprint why it is advice."""
    reader = opened.reader
    result["warnings"] = [
        *describe_broken(attempt.refused, attempt.weights),
        *opened.warnings,
        *list_cautions(opened.scene, reader, model.card, result, doubts, left_out),
    ]
    white = None
    built = None
    if not isinstance(model, IndexModel):
        colours = select_colours(reader, result["valid_share"])
        white, white_warnings = open_white_ground(colours, result["acquired_at"][:10])
        result["warnings"] += white_warnings
        built = open_built_ground(reader, sample_pixels(reader))
    coarser = describe_coarser(result["resample_to_m"], result["coarser_than_m"])
    add_outline_cautions(result, reader.grid, [*doubts, *coarser], white, built)


# ---- Outputs ---------------------------------------------------------------------------------------------------
def _write_files(
    result: SceneDetection,
    opened: OpenScene,
    steps: ByteRaster,
    work_dir: Path,
    options: DetectionOptions,
    progress: Callable[[float], None],
) -> None:
    """Write the files of a result, or with `later` only those that its rows need. Without a folder write none."""
    if options.out_dir is None:
        return
    unreadable = opened.reader.unreadable
    if options.later:
        write_first(result, steps, work_dir, options.out_dir, unreadable, options.describe)
    else:
        write_outputs(result, opened.scene, steps, work_dir, options.out_dir, unreadable, progress, options.describe)


# ---- Survey ----------------------------------------------------------------------------------------------------
def survey(options: DetectionOptions) -> DetectionPlan:
    """Return what a detection would do: grid, tiles, estimated processor seconds and memory. Nothing is written.

    The seconds are extrapolated from one tile of zeros that the network maps now on this machine.
    """
    return choose_weights(options, partial(_survey, read_input_scene(options), options))


def _survey(scene: Scene, options: DetectionOptions, attempt: WeightsAttempt) -> DetectionPlan:
    options = attempt.apply_to(options)
    model = _load(attempt.weights)
    plan = plan_tiles(model, options)
    check_grid = partial(_check_weights, model, options, attempt)
    with (
        open_workplace(None) as work_dir,
        open_inputs(scene, model.bands, options, work_dir, check_grid) as opened,
    ):
        view = _choose_network_view(opened, model, options)
        doubts: list[Explanation] = []
        if options.weights == AUTO:
            _, doubts = _normalise(opened, view.reader, model, options, attempt)
        coarser = describe_coarser(attempt.coarser_m, opened.coarser_than_m if attempt.coarser_m else None)
        grid = view.reader.grid
        seconds_per_px = _time_pixel(model, plan, options.quality)
        return {
            "scene": str(scene.path),
            "scene_hash": scene_hash(scene, options.owner),
            "acquired_at": scene.acquired_at.isoformat(),
            "model": str(model.card["name"]),
            **_describe_grid(opened.reader.grid, view.read_at),
            "bands": list(model.bands),
            "optional_bands": list(list_optional_bands(model.card)) if opened.terrain else [],
            "warped": opened.reader.warped,
            "quality": _find_quality(model, options.quality),
            "blend": plan.blend,
            "tile": plan.tile,
            "halo": plan.halo,
            "tiles": plan.count(grid.width, grid.height),
            "estimated_cpu_s": round(seconds_per_px * _count_mapped_px(plan, grid) * 1.2 + 1, 1),
            "estimated_memory_mib": round(450 + _estimate_map_bytes(model, plan, grid) / 2**20),
            "warnings": [*opened.warnings, *doubts, *coarser],
        }


def _time_pixel(model: "Model", plan: TilingPlan, quality: Quality) -> float:
    """Return the processor seconds that the network takes per pixel."""
    side = min(256, plan.tile)
    tile = np.zeros((len(model.bands), side, side), np.float32)
    valid = np.ones((side, side), bool)
    classifier = _make_classifier(model, plan, quality)
    classifier.class_probabilities(tile, valid)  # the first call also prepares the network
    started = time.process_time()
    classifier.class_probabilities(tile, valid)
    return (time.process_time() - started) / side**2


def _count_mapped_px(plan: TilingPlan, grid: Grid) -> int:
    """Return how many pixels the network maps. A pixel in several tiles counts once for each of them."""
    pixels = grid.width * grid.height
    tile_px = (plan.tile + 2 * plan.halo) ** 2
    return min(plan.count(grid.width, grid.height) * tile_px, pixels * (1 if plan.blend == "rows" else 4))


def _estimate_map_bytes(model: "Model", plan: TilingPlan, grid: Grid) -> float:
    """Return about how much memory the feature maps of a network take at once."""
    width, height = (min(plan.tile, length) + 2 * plan.halo for length in (grid.width, grid.height))
    if plan.blend == "rows":
        # A network that maps rows keeps only the rows that its decoder still needs. On all levels together these take
        # as much memory as this many rows of the first level.
        height = min(height, (2 * plan.halo + PART_ROWS) // 6)
    channels = 64 * float(model.card["network"].get("width", 0.0))
    # About six maps of the first level, of four bytes per value.
    return 6 * channels * 4 * width * height
