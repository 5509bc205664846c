"""A scene: files in, footprints out; the answer is the JSON that is written beside them."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from detection.imagery.errors import (
    BandOrderError,
    DomainError,
    FinerError,
    ImageryError,
    NoCrsError,
    NoValidPixelsError,
    RadiometryError,
    SceneError,
    TooLargeError,
    UnfitError,
)
from detection.imagery.footprints.cautions import BORDER, FLAT_DEG, describe_coarser, doubt_outlines, list_cautions
from detection.imagery.footprints.choose import (
    WeightsAttempt,
    WeightsRefusal,
    check_doubts,
    check_pixels,
    check_size,
    choose_weights,
    describe_broken,
    describe_mend,
    describe_refusals,
)
from detection.imagery.footprints.index_map import MODEL as INDEX_MODEL
from detection.imagery.footprints.index_map import IndexModel, NoNetwork
from detection.imagery.footprints.options import FORMATS, DetectionOptions, Quality
from detection.imagery.footprints.outputs import (
    open_workplace,
    own_class,
    read_run,
    with_paths,
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
    bring_back,
    make_plan,
    map_scene,
    measure_flips,
    name_classes,
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
from detection.imagery.raster.aoi import make_mask
from detection.imagery.raster.areas import geodesic_pixel_m2, pixel_area_m2, resample_grid
from detection.imagery.raster.components import NODATA
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.overlay import join_windows, shapes_of, to_pixels
from detection.imagery.raster.raster import ByteRaster, inspect
from detection.imagery.raster.terrain import TerrainReader, open_terrain
from detection.imagery.registry import find_entry
from detection.imagery.scene.border import Border, list_doubtful, set_aside_borders
from detection.imagery.scene.built_ground import BuiltGround, describe_built, describe_built_ground, open_built_ground
from detection.imagery.scene.fill import read_rim, set_aside_fills
from detection.imagery.scene.offsets import find_landsat
from detection.imagery.scene.optional_reader import OptionalBandReader
from detection.imagery.scene.radiometry import RadiometricStretch, measure_stretch, sample_pixels
from detection.imagery.scene.reader import BandReader, ReaderOptions, open_scene
from detection.imagery.scene.resized import ReadAt, find_pixels, fit_pixels
from detection.imagery.scene.sampling import Sampler
from detection.imagery.scene.scene import Scene, find_contradictions, hash_file, list_masks, read_scene, scene_hash
from detection.imagery.scene.white_ground import WhiteGround, describe_white, describe_white_ground, open_white_ground
from detection.imagery.training.domain import check_ground, find_doubts, find_other_types
from detection.imagery.weights_file import weights_path
from detection.reasons import Explanation, Reason, explain_file, join_explanations

if TYPE_CHECKING:
    from detection.imagery.neural.checkpoint import SegmentationModel

log = logging.getLogger(__name__)

Progress = Callable[[str, float], None]
"""Called with what is being done, and the share of that which is done; the stages follow each other in this order."""
BRIGHTNESS, MAP, JOINS, OUTLINES, FILES = "brightness", "map", "joins of tiles", "outlines", "files"
# Pixels that an image may become at the size of a training that nobody named: a network of a quarter width maps a
# million in 1.8 s on one core, so these take half of the 900 s that a job has by default.
BROUGHT_MOST_PX = 1 << 28
# Of weights whose card does not say.
MINIMUM_AREA_M2 = 900.0


@dataclass(frozen=True, slots=True)
class OpenScene:
    """A scene with everything that belongs to it, open for reading."""

    scene: Scene
    reader: BandReader
    terrain: TerrainReader | None
    sampler: Sampler
    warnings: tuple[str, ...]
    coarser_than_m: float | None  # side of its own pixels where it is read on others (`resample_to_m`)


def detect(options: DetectionOptions, progress: Progress = lambda *_: None) -> SceneDetection:
    """Find landslides in one scene.

    The same scene, model and options give the same bytes; a second call into the same `out_dir` reads back what the
    first one found, unless `force` is set. Every output is written by temporary name and renamed; a failure leaves
    nothing. One `out_dir` serves one run at a time.

    Raises ImageryError: a subclass for each cause, with one clear line.
    """
    scene = _find_scene(options)
    return choose_weights(options, partial(_detect, scene, options, progress))


def _detect(scene: Scene, options: DetectionOptions, progress: Progress, attempt: WeightsAttempt) -> SceneDetection:
    options, weights, refused, doubted = attempt.apply_to(options), attempt.weights, attempt.refused, attempt.doubted
    model = _load(weights)
    plan = plan_tiles(model, options)
    facts = _facts(scene, model, plan, options)
    facts |= {"named": options.weights != AUTO, "refused": [one.to_json() for one in refused]}
    known = read_run(options.out_dir, facts, later=options.later) if options.out_dir and not options.force else None
    if known is not None:
        return known
    with ExitStack() as stack:
        work = stack.enter_context(open_workplace(options.out_dir))
        check = partial(_check_grid, model, options, attempt)
        opened = stack.enter_context(_open(scene, model.bands, options, work, check))
        grid = opened.reader.grid
        steps = ByteRaster(work / "steps.tif", grid, len(facts["classes"]))
        seen, read_at, fills, borders = _set_aside(opened, model, options, work)
        report = partial(progress, BRIGHTNESS)
        stretch, doubts = _measure(opened, seen, model, refused, options, report, doubted=doubted)
        classifier = _make_classifier(model, plan, options.quality)
        optional = _open_optional(opened, seen, model)
        run = MappingRun(seen, classifier, stretch, plan, steps.count, optional)
        drawn = ByteRaster(work / "drawn.tif", seen.grid, steps.count) if read_at else steps
        with drawn.writing() as write:
            valid = map_scene(run, write, partial(progress, MAP))
        if read_at:
            valid = bring_back(drawn, steps, opened.reader)
        if not valid:
            raise _explain_empty(opened, model)
        flip_rate, flip_pixels = None, 0
        if plan.blend == "hann":
            least = threshold_steps(facts["threshold"])
            progress(JOINS, 0.0)
            with drawn.reading() as read:
                flip_rate, flip_pixels = measure_flips(run, read, least)
        footprints, left_out = _find_all(steps, opened, facts, model.card.get("linear_classes", ["crack"]), progress)
        result: SceneDetection = {
            **facts,
            "weights": weights,
            **_describe_grid(grid, read_at),
            "valid_share": round(valid / (grid.width * grid.height), 6),
            "unreadable_share": round(opened.reader.unreadable_share, 6),
            "flip_rate": flip_rate,
            "flip_pixels": flip_pixels,
            "terrain": _describe_terrain(opened.terrain, list_optional_bands(model.card)),
            "qa": None,
            "doubts": doubts,
            "fills": list(fills),
            "borders": [border._asdict() for border in borders],
            "cloudy": [list(window) for window in stretch.cloudy],
            "calibration": {"gain": scene.gain, "offset": scene.offset, "source": scene.calibration},
            "coarser_than_m": opened.coarser_than_m if attempt.coarser_m else None,
            "warnings": [],
            "polygons": [one.to_json() for one in footprints],
            "outputs": {},
        }
        cautions = list_cautions(scene, opened.reader, model.card, result, left_out)
        result["warnings"] = [
            *describe_broken(refused, weights),
            *opened.warnings,
            *cautions,
        ]
        result["doubts"] = [*doubts, *describe_coarser(result["resample_to_m"], result["coarser_than_m"])]
        white = built = None
        if not isinstance(model, IndexModel):
            white = open_white_ground(opened.reader, result["valid_share"])
            built = open_built_ground(opened.reader, sample_pixels(opened.reader))
        _add_cautions(result, grid, white, built)
        _write(result, scene, opened, steps, work, options, partial(progress, FILES))
    log.info("%s: %d footprints", scene.path, len(footprints))
    return with_paths(result, options.out_dir)


def _explain_empty(opened: OpenScene, model: "SegmentationModel | IndexModel") -> ImageryError:
    path = opened.scene.path
    if hint := _name_product(opened.reader, opened.scene):
        return RadiometryError(f"{path}: refused by {model.card['name']}: as bright as a cloud{hint}")
    return NoValidPixelsError(
        f"{path}: all pixels of the scene are nodata, masked, as bright as a cloud, or outside of the aoi"
    )


def _write(
    result: SceneDetection,
    scene: Scene,
    opened: OpenScene,
    steps: ByteRaster,
    work: Path,
    options: DetectionOptions,
    progress: Callable[[float], None],
) -> None:
    """Write the files of a result, all or those that its rows rest on; none without a folder."""
    unreadable, out_dir = opened.reader.unreadable, options.out_dir
    if out_dir and options.later:
        write_first(result, steps, work, out_dir, unreadable, options.describe)
    elif out_dir:
        write_outputs(result, scene, steps, work, out_dir, unreadable, progress, options.describe)


def _set_aside(
    opened: OpenScene, model: "SegmentationModel | IndexModel", options: DetectionOptions, work: Path
) -> tuple[BandReader, ReadAt | None, tuple[float, ...], list[Border]]:
    """What the network sees of a scene, once what is no ground is left out."""
    seen, read_at = _fit_pixels(opened, model, options)
    rim = read_rim(opened.reader)
    fills = set_aside_fills(opened.reader, rim, work)
    return seen, read_at, fills, set_aside_borders(opened.reader, rim, work, fills)


def _describe_grid(grid: Grid, read_at: ReadAt | None) -> GridFacts:
    return {
        "crs": grid.crs_name,
        "width": grid.width,
        "height": grid.height,
        "pixel_area_m2": round(pixel_area_m2(grid), 4) if grid.placed else None,
        "read_at": read_at._asdict() if read_at else None,
    }


def _add_cautions(result: SceneDetection, grid: Grid, white: WhiteGround | None, built: BuiltGround | None) -> None:
    """Add to each outline why it is advice, and to the result how much of the scene is white or built ground."""
    polygons = result["polygons"]
    day = result["acquired_at"][:10]
    doubtful, cloudy = (
        join_windows(windows, grid, grid) for windows in (list_doubtful(result["borders"]), result["cloudy"])
    )
    outlines: Any = [None] * len(polygons)
    if any(ground is not None for ground in (doubtful, cloudy, white, built)):
        drawn = shapes_of([one["geometry"] for one in polygons])
        outlines = to_pixels(drawn, grid) if grid.placed else drawn
    reasons = doubt_outlines(outlines, result["doubts"], [(BORDER, doubtful)], cloudy)
    lying: list[int] = []
    if white is not None and polygons:
        lying = np.flatnonzero(white.lies_at(outlines)).tolist()
    for place in lying:
        reasons[place].append(describe_white(day))
    result["warnings"] += describe_white_ground(white, day, len(lying))
    on_built_ground: list[int] = []
    if built is not None and polygons:
        on_built_ground = np.flatnonzero(built.contains(outlines)).tolist()
    for place in on_built_ground:
        reasons[place].append(describe_built(day))
    result["warnings"] += describe_built_ground(built, day, len(on_built_ground))
    for polygon, why_flat in zip(polygons, reasons, strict=True):
        slope = polygon["mean_slope_deg"]
        if slope is not None and slope < FLAT_DEG:
            why_flat.append(Reason("caution.flat", {"slope": slope}))
    for polygon, why in zip(polygons, reasons, strict=True):
        polygon["caution"] = join_explanations(why) if why else None


def _load(weights: str) -> "SegmentationModel | IndexModel":
    if weights == INDEX:
        return INDEX_MODEL
    weights_path(weights)  # which are not there need no PyTorch either: the index serves
    from detection.imagery.neural.checkpoint import load_model

    return load_model(weights)


def _make_segmenter(model: "SegmentationModel | IndexModel") -> Classifier:
    if isinstance(model, IndexModel):
        return NoNetwork()
    from detection.imagery.neural.inference import Segmenter

    return Segmenter(model)


def _describe_terrain(terrain: TerrainReader | None, optional_bands: tuple[str, ...]) -> TerrainFacts | None:
    if terrain is None:
        return None
    facts: TerrainFacts = {"covered_share": round(terrain.covered_share, 4)}
    if optional_bands:
        facts["optional_bands"] = list(optional_bands)
    return facts


def _open_optional(
    opened: OpenScene, seen: BandReader, model: "SegmentationModel | IndexModel"
) -> OptionalBandReader | None:
    """Return the reader of the optional bands of a model; None where it has none, or the scene has no DEM."""
    names = list_optional_bands(model.card)
    if not names or opened.terrain is None:
        return None
    return OptionalBandReader(opened.terrain, names, opened.reader.grid, seen.grid)


def _make_classifier(model: "SegmentationModel | IndexModel", plan: TilingPlan, quality: Quality) -> Classifier:
    """Return what maps the tiles of a scene with a quality."""
    segmenter = _make_segmenter(model)
    return EightViews(segmenter, plan.stride) if _find_quality(model, quality) == "best" else segmenter


def _find_quality(model: "SegmentationModel | IndexModel", quality: Quality) -> Quality:
    """Return the quality that a model is used with: an index has only one."""
    return "standard" if isinstance(model, IndexModel) else quality


def _check_grid(
    model: "SegmentationModel | IndexModel", options: DetectionOptions, attempt: WeightsAttempt, grid: Grid
) -> None:
    """Refuse weights that nobody named by the pixels alone, before terrain is made for them or the scene is read.

    Raises FinerError, UnfitError: see `check_pixels`, `check_size`.
    """
    if options.weights != AUTO or isinstance(model, IndexModel):
        return
    if attempt.coarser_m:
        check_size(grid)
    pixel_m = geodesic_pixel_m2(grid) ** 0.5 if grid.placed and not options.resample_to_m else None
    check_pixels(grid, model.card, brought=pixel_m is not None and find_pixels(pixel_m, model.card) is not None)


def _fit_pixels(
    opened: OpenScene, model: "SegmentationModel | IndexModel", options: DetectionOptions
) -> tuple[BandReader, ReadAt | None]:
    """What the network sees, and on which grid that is; a grid that was asked for is the one that it sees.

    Raises:
        UnfitError: that would be more pixels than the job has time for, and nobody named these weights.
        TooLargeError: that would be more pixels than the limit.
    """
    seen, read_at = (opened.reader, None) if options.resample_to_m else fit_pixels(opened.reader, model.card)
    if read_at:
        size, limit = read_at.width * read_at.height, options.limits.pixels
        described = f"{read_at.width} x {read_at.height} pixels of {read_at.pixel_m:g} m"
        if options.weights == AUTO and size > min(limit, BROUGHT_MOST_PX):
            values = {"width": read_at.width, "height": read_at.height, "pixel": read_at.pixel_m}
            raise UnfitError(Reason("weights.too_long", values))
        if size > limit:
            raise TooLargeError(f"{opened.scene.path}: {described}, the limit is {limit:,}")
    return seen, read_at


def _measure(
    opened: OpenScene,
    seen: BandReader,
    model: "SegmentationModel | IndexModel",
    refused: tuple[WeightsRefusal, ...],
    options: DetectionOptions,
    progress: Callable[[float], None] = lambda _: None,
    *,
    doubted: bool,
) -> tuple[RadiometricStretch, list[Explanation]]:
    """The stretch of a scene as the network sees it, and why it lies outside of the training.

    `doubted`: though it does; else weights that nobody named refuse it then.

    Raises:
        NoValidPixelsError: there is nothing to look at.
        DomainError, RadiometryError: it cannot mean anything to these weights, or they do not fit and nobody named
            them.
    """
    reader, scene, name = opened.reader, opened.scene, model.card["name"]
    strict = options.weights == AUTO and not isinstance(model, IndexModel)
    try:
        stretch = measure_stretch(seen, model.card, options.scale, progress)
        if isinstance(model, IndexModel):
            check_ground(reader, stretch, model.card)
            return stretch, [*describe_refusals(refused)]
        # noise between pixels is none any more where they are interpolated or averaged
        own = None if seen is reader else (reader, measure_stretch(reader, model.card, options.scale))
        doubts = find_doubts(seen, stretch, model.card, own)
        if options.scale is None:
            doubts += find_other_types(reader, stretch, model.card)
    except NoValidPixelsError as error:
        raise NoValidPixelsError(f"{scene.path}: {error}") from None
    except FinerError as error:
        mend = describe_mend(scene.path, options.weights, error.trained_m)
        refused_by = Reason("weights.refused_finer", {"model": name, "text": error.explanation, "mend": mend})
        raise FinerError(explain_file(scene.path, refused_by), error.trained_m) from None
    except (DomainError, RadiometryError) as error:
        hint = _name_product(reader, scene)
        prefix = "" if options.weights == AUTO else f"refused by {name}: "
        raise type(error)(f"{scene.path}: {prefix}{error}{hint}") from None
    if strict and not doubted:
        check_doubts(doubts, model.card)
    return stretch, doubts


def _name_product(reader: BandReader, scene: Scene) -> str:
    """Of which product the counts of a refused scene may be, and what to do; empty where nothing says so."""
    if scene.calibration:
        return ""
    try:
        found = find_landsat(sample_pixels(reader))
    except SceneError:
        return ""
    return f"; {found}" if found else ""


def survey(options: DetectionOptions) -> DetectionPlan:
    """Say what a detection would do: grid, tiles, estimated processor seconds and memory; nothing is written.

    The seconds come from one tile of zeros through the network, here and now.
    """
    return choose_weights(options, partial(_survey, _find_scene(options), options))


def _survey(scene: Scene, options: DetectionOptions, attempt: WeightsAttempt) -> DetectionPlan:
    import time

    options = attempt.apply_to(options)
    model = _load(attempt.weights)
    plan = plan_tiles(model, options)
    check = partial(_check_grid, model, options, attempt)
    with open_workplace(None) as work, _open(scene, model.bands, options, work, check) as opened:
        grid = opened.reader.grid
        seen, read_at = _fit_pixels(opened, model, options)
        doubts = (
            _measure(opened, seen, model, attempt.refused, options, doubted=attempt.doubted)[1]
            if options.weights == AUTO
            else []
        )
        coarser = describe_coarser(attempt.coarser_m, opened.coarser_than_m if attempt.coarser_m else None)
        side = min(256, plan.tile)
        sample, valid = np.zeros((len(model.bands), side, side), np.float32), np.ones((side, side), bool)
        segmenter = _make_classifier(model, plan, options.quality)
        segmenter.class_probabilities(sample, valid)
        begun = time.process_time()
        segmenter.class_probabilities(sample, valid)
        per_pixel = (time.process_time() - begun) / side**2
        width, height = seen.grid.width, seen.grid.height
        tiles = plan.count(width, height)
        read_px = min(tiles * (plan.tile + 2 * plan.halo) ** 2, width * height * (1 if plan.blend == "rows" else 4))
        # a tile takes about six maps of the first level at once, beside the libraries themselves; of rows those are
        # alive that wait for the decoder: on all levels as many as on the first twice as far as it sees
        wide, high = (min(plan.tile, length) + 2 * plan.halo for length in (width, height))
        if plan.blend == "rows":
            high = min(high, (2 * plan.halo + PART_ROWS) // 6)
        held_bytes = 6 * 64 * float(model.card["network"].get("width", 0.0)) * 4 * wide * high
        return {
            "scene": str(scene.path),
            "scene_hash": scene_hash(scene, options.owner),
            "acquired_at": scene.acquired_at.isoformat(),
            "model": str(model.card["name"]),
            **_describe_grid(grid, read_at),
            "bands": list(model.bands),
            "warped": opened.reader.warped,
            "quality": _find_quality(model, options.quality),
            "blend": plan.blend,
            "tile": plan.tile,
            "halo": plan.halo,
            "tiles": tiles,
            "estimated_cpu_s": round(per_pixel * read_px * 1.2 + 1, 1),
            "estimated_memory_mib": round(450 + held_bytes / 2**20),
            "warnings": [*opened.warnings, *doubts, *coarser],
        }


def _find_scene(options: DetectionOptions) -> Scene:
    scene = read_scene(options.scene_path)
    if options.offset is not None:
        scene = replace(scene, gain=1.0, offset=options.offset, calibration="--offset")
    given = {name: path for name in ("dem", "prior", "aoi") if (path := getattr(options, name))}
    for name, path in given.items():
        if not path.is_file():
            raise SceneError(f"{path}: no such file ({name})")
    # which map lies below it makes no other scene of it
    given.pop("prior", None)
    return replace(scene, dem_tiles=options.dem_tiles, **given)


def plan_tiles(model: "SegmentationModel | IndexModel", options: DetectionOptions) -> TilingPlan:
    """Return how a scene is cut for a model: as asked, else in rows where the network can be shown them."""
    if isinstance(model, IndexModel):  # a pixel by itself
        return TilingPlan("rows", COLUMNS, 0, 1)
    entry = find_entry(model.card["network"]["name"])
    return make_plan(model.card, entry, options.tile, options.halo, options.quality)


def _facts(
    scene: Scene,
    model: "SegmentationModel | IndexModel",
    plan: TilingPlan,
    options: DetectionOptions,
) -> DetectionFacts:
    prior, least_m2 = options.prior or scene.prior, options.minimum_area_m2
    dem: DemFacts | None = None
    if scene.dem_tiles:
        dem = {"tiles": [{"file": name, "sha256": digest} for name, digest in scene.dem_tiles]}
    elif scene.dem is not None:
        dem = {"file": scene.dem.name, "sha256": hash_file(scene.dem)}
    threshold = None if isinstance(model, IndexModel) else options.threshold  # a probability; an index has none
    return {
        "scene_hash": scene_hash(scene, options.owner),
        "model": str(model.card["name"]),
        "model_hash": model.model_hash,
        "acquired_at": scene.acquired_at.isoformat(),
        "role": scene.role,
        "classes": list(name_classes(model.card)),
        "quality": _find_quality(model, options.quality),
        "threshold": float(model.card["threshold"] if threshold is None else threshold),
        "minimum_area_m2": float(model.card.get("minimum_area_m2", MINIMUM_AREA_M2) if least_m2 is None else least_m2),
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


@contextmanager
def _open(
    scene: Scene,
    names: tuple[str, ...],
    options: DetectionOptions,
    work: Path,
    check: Callable[[Grid], None] = lambda _: None,
) -> Iterator[OpenScene]:
    """Open the scene, its masks, its terrain and its susceptibility on one grid, if that passes a check."""
    contradictions = find_contradictions(scene, names)
    if contradictions and options.strict:
        raise BandOrderError(f"{scene.path}: {'; '.join(contradictions)}")
    with ExitStack() as stack:
        terrain, masks = None, list_masks(scene)
        notes: list[str] = []
        grid, own_m = _find_grid(scene, names, options)
        if grid:
            check(grid)
        if scene.aoi and grid:
            masks = (*masks, make_mask(scene.aoi, grid, work, notes))
        if scene.dem and grid and grid.placed:
            terrain = stack.enter_context(open_terrain(scene.dem, grid, work, names))
        reader = stack.enter_context(
            open_scene(
                scene,
                names,
                masks=masks,
                grid=grid if options.resample_to_m else None,
                terrain=terrain,
                options=replace(
                    _read_by(options), partial=options.partial, keeping=work if options.resample_to_m else None
                ),
            )
        )
        check(reader.grid)
        prior = None
        if (below := options.prior or scene.prior) and reader.grid.placed:
            prior = stack.enter_context(
                BandReader({"prior": (below, 1)}, grid=reader.grid, options=ReaderOptions(covering=False))
            )
        files = dict.fromkeys(scene.bands[name].path for name in names if name in scene.bands)
        placing = [f"{file}: {note}" for file in files for note in inspect(file).placing]
        notes += () if terrain is None else terrain.notes
        warnings = (*scene.remarks, *contradictions, *placing, *notes, *reader.notes)
        yield OpenScene(scene, reader, terrain, Sampler(terrain, prior, reader), warnings, own_m)


def _read_by(options: DetectionOptions) -> ReaderOptions:
    return ReaderOptions(ungeoreferenced=options.allow_ungeoreferenced, limits=options.limits)


def _find_grid(scene: Scene, names: tuple[str, ...], options: DetectionOptions) -> tuple[Grid | None, float | None]:
    """The grid that terrain, area of interest or wanted pixels need first; the side of its own pixels if resampled."""
    if not (scene.dem or scene.aoi or options.resample_to_m):
        return None, None
    files = tuple(name for name in names if name in scene.bands) or tuple(scene.bands)[:1]
    with open_scene(scene, files, masks=(), options=_read_by(options)) as first:
        grid = first.grid
    if not options.resample_to_m:
        return grid, None
    pixel_m, limit = options.resample_to_m, options.limits.pixels
    if not grid.placed:
        raise NoCrsError(f"{scene.path}: has no place on the ground and cannot be resampled to {pixel_m:g} m")
    wanted = resample_grid(grid, pixel_m)
    if wanted.width * wanted.height > limit:
        raise TooLargeError(
            f"{scene.path}: {wanted.width} x {wanted.height} pixels of {pixel_m:g} m, the limit is {limit:,}"
        )
    return wanted, geodesic_pixel_m2(grid) ** 0.5


def _find_all(
    steps: ByteRaster, opened: OpenScene, facts: DetectionFacts, linear: list[str], progress: Progress
) -> tuple[list[Footprint], dict[str, int]]:
    least, gate = threshold_steps(facts["threshold"]), facts["slope_gate_deg"]
    kept, left_out = [], {"hugging": 0, "flat": 0, "small": 0}

    # the pixels are read twice: labelled, then looked at body by body
    read_px, to_read_px = 0, 2 * steps.grid.width * steps.grid.height * len(facts["classes"])

    def count_small() -> None:
        left_out["small"] += 1

    with steps.reading() as read:
        for number, kind in enumerate(facts["classes"], start=1):

            def read_class(*window: int, number: int = number) -> Any:
                nonlocal read_px
                own = read(*window, number)
                read_px += own.size
                progress(OUTLINES, min(1.0, read_px / to_read_px))
                if steps.count > 1:
                    every = np.stack([read(*window, band) for band in range(1, steps.count + 1)])
                    own = np.where((own_class(every, least) == number) | (own == NODATA), own, 0).astype(np.uint8)
                return own

            for footprint in find_footprints(
                read_class,
                steps.grid,
                OutlineRule(
                    threshold=facts["threshold"],
                    minimum_area_m2=facts["minimum_area_m2"],
                    minimum_hole_m2=facts["minimum_area_m2"],
                    identity=f"{facts['scene_hash']}:{facts['model_hash']}",
                    kind=kind,
                    linear=kind in linear,
                ),
                opened.sampler,
                count_small,
            ):
                slope = footprint.mean_slope_deg
                if footprint.hugs_nodata:
                    left_out["hugging"] += 1
                elif gate is not None and slope is not None and slope < gate:
                    left_out["flat"] += 1
                else:
                    kept.append(footprint)
    return kept, left_out
