"""Read a scene in a worker process: find footprints, compare them with other dates, measure stations.

The worker has no database.
"""

import contextlib
import tempfile
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from detection.imagery.change import records
from detection.imagery.change.by_index import add_index_comparison, compare_by_index
from detection.imagery.change.classification import keep_lines
from detection.imagery.change.compare import as_date, compare
from detection.imagery.change.dates import choose_before
from detection.imagery.errors import CoverageError, HeightsError, ImageryError, IncompleteSceneError, ModelError
from detection.imagery.footprints.detect import detect
from detection.imagery.footprints.doubt import find_doubtful
from detection.imagery.footprints.index_map import CARD
from detection.imagery.footprints.options import DetectionOptions
from detection.imagery.footprints.places import measure_places
from detection.imagery.footprints.proximity import list_distances
from detection.imagery.footprints.records import INDEX, RADAR, Circle, MeasuredPlace, SceneDetection
from detection.imagery.raster.local_grid import placing
from detection.imagery.raster.raster import inspect
from detection.imagery.scene.heights import gather_heights
from detection.imagery.scene.radar_bands import is_radar
from detection.imagery.scene.scene import Scene, find_missing, read_scene
from detection.imagery.weights_file import read_weights, weights_path
from monitor.api.extras import describe_package, explain_missing
from monitor.api.plugins import hooks
from monitor.api.scenes import DateAssessment, KnownDate, KnownVersion, PlaceValue, ReadScene, SceneRequest
from monitor.api.sites import LANDSLIDE_PREFIX
from monitor.api.text import convert_reason, convert_reasons_within, describe_error, messages_to_plain
from monitor.features.scenes.elsewhere import describe_confirmed, find_elsewhere
from monitor.features.scenes.methods import find_method
from monitor.features.scenes.tasks import Elsewhere, SceneResult, WeightsTrial, WeightsTrialResult

# How many footprints near stations get series of their own, the nearest first. More would fill the page.
FOLLOWED_MOST: Final = 30
# Largest number of relief tiles. They take up to half a minute, and the scene waits for them.
RELIEF_TILES: Final = 256
PROBABILITY: Final = "scene_probability"  # quantity that only networks give
# How many later dates are judged again when a scene arrives late.
AGAIN_MOST: Final = 5


def try_weights(request: WeightsTrial) -> WeightsTrialResult:
    """Load weights once, so that faults of their tensors are found before they are in use."""
    try:
        from detection.imagery.neural.checkpoint import load_model

        load_model(request.path)
    except ModelError as error:
        return WeightsTrialResult(f"cannot be read: {describe_error(error)}")
    except ModuleNotFoundError as error:
        if (missing := explain_missing(error)) is None:
            raise
        return WeightsTrialResult(f"cannot be tried: {missing}")
    return WeightsTrialResult()


def read_one(request: SceneRequest) -> SceneResult:
    """Read one scene and judge changes in the order of acquisition, whatever the order of arrival."""
    try:
        local = None if request.local is None else asdict(request.local)
        with placing(local), tempfile.TemporaryDirectory(prefix="scene-") as work:
            return SceneResult(read=_read_one(request, Path(work)))
    except _LacksError:
        return SceneResult(lacks=True)
    except _WaitingError as waiting:
        return SceneResult(waiting=describe_error(waiting), comes=waiting.comes)
    except _ElsewhereError as error:
        return SceneResult(elsewhere=error.elsewhere)
    except ImageryError as error:
        return SceneResult(error=describe_error(error))


class _WaitingError(Exception):
    """Files, weights or PyTorch are missing. `comes`: they may arrive without help."""

    def __init__(self, reason: str, *, comes: bool) -> None:
        super().__init__(reason)
        self.comes = comes


class _ElsewhereError(Exception):
    """The scene lies outside the area of the site."""

    def __init__(self, elsewhere: Elsewhere) -> None:
        super().__init__(f"{elsewhere.distance_m:.0f} m from the site")
        self.elsewhere = elsewhere


class _LacksError(Exception):
    """The comparison needs footprints of dates that the request does not contain."""


@dataclass(frozen=True, slots=True)
class _NetworkReading:
    answer: SceneDetection  # as `detect` answers
    own: records.StoredDate
    same: Sequence[records.StoredDate]  # the other dates that the same network read
    replaced: Sequence[KnownVersion]
    notes: tuple[str, ...]
    judgements: list[tuple[records.StoredDate, records.ComparisonResult]]  # its own first


def _read_one(request: SceneRequest, work: Path) -> ReadScene:
    try:
        read = _read_and_compare(request, work)
    except IncompleteSceneError as error:
        raise _WaitingError(describe_error(error), comes=True) from error
    except ModelError as error:
        raise _WaitingError(describe_error(error), comes=False) from error
    except ModuleNotFoundError as error:
        if (missing := explain_missing(error)) is None:
            raise
        raise _WaitingError(missing, comes=False) from error
    return read if isinstance(read, ReadScene) else _describe_reading(request, read)


def _read_and_compare(request: SceneRequest, work: Path) -> ReadScene | _NetworkReading:
    """Read a scene by a method of a plugin, by the index, or by a network.

    A scene read by a network is compared with the dates of the same network.
    """
    if reason := find_missing(Path(request.scene_path)):
        raise _WaitingError(reason, comes=True)
    scene = read_scene(Path(request.scene_path))
    confirmed = _check_area(request, scene)
    method = find_method(scene)
    if method is not None:
        _require_outlines(method.list_compared(request, scene))
        read = method.read(request, scene)
        return replace(read, warnings=(*read.warnings, *confirmed))
    if is_radar(scene):
        raise _WaitingError(describe_package("slopeward_earth", "change between radar scenes"), comes=False)
    prior, unmapped = _show_prior(request)
    answer, dem, flat = _with_heights(request, scene, prior, work)
    notes = (*unmapped, *flat, *confirmed)
    own = as_date(answer, request.scene_path, dem)
    replaced = [v for v in request.versions if v.acquired_at == own.acquired_at and v.scene_hash != own.scene_hash]
    if answer["model"] == INDEX:
        return _read_by_index(answer, own, request, replaced, notes)
    gone = _list_gone(own, replaced)
    same = [d for d in request.dates if d.model_hash == answer["model_hash"] and d.scene_hash not in gone]
    if dem is not None:
        same = _give_heights(own, same, request.dem, work)
    # Later dates that are judged again are compared with dates before them, which may be any.
    is_late = any(d.acquired_at > own.acquired_at for d in same)
    _require_outlines(same if is_late else choose_before(own, same))
    judgements = _assess_dates(own, same, request, [p for v in replaced for p in v.polygons])
    return _NetworkReading(answer, own, same, replaced, notes, judgements)


def _check_area(request: SceneRequest, scene: Scene) -> tuple[str, ...]:
    """Return a warning if the scene lies outside the area of the site and a person confirmed it.

    Raises:
        _ElsewhereError: It lies outside, and nobody confirmed it.
    """
    elsewhere = find_elsewhere(scene, request.area)
    if elsewhere is None:
        return ()
    if request.is_confirmed:
        return (describe_confirmed(elsewhere.distance_m),)
    raise _ElsewhereError(elsewhere)


def _require_outlines(dates: Iterable[records.StoredDate]) -> None:
    if any(date.polygons is None for date in dates):
        raise _LacksError


def _list_gone(own: records.StoredDate, replaced: Iterable[KnownVersion]) -> set[str]:
    return {own.scene_hash, *(v.scene_hash for v in replaced)}


def _describe_reading(request: SceneRequest, read: _NetworkReading) -> ReadScene:
    from detection.imagery.neural.checkpoint import load_model

    answer, own = read.answer, read.own
    used = answer.get("weights", request.weights)
    first = _add_index(own, read.judgements[0][1], request, _list_gone(own, read.replaced))
    judged = [_judgement(own, first), *(_judgement(*one) for one in read.judgements[1:])]
    series = _list_series(own, first, read.same, request)
    return replace(
        _make_result(answer, own, request, judged, series, read.replaced, read.notes),
        weights_path=str(weights_path(used)),
        card=dict(load_model(used).card),
        doubtful_tiles=find_doubtful(Path(own.prob), own.threshold, len(own.classes)),
    )


def _read_by_index(
    answer: SceneDetection,
    own: records.StoredDate,
    request: SceneRequest,
    replaced: Sequence[KnownVersion],
    notes: tuple[str, ...],
) -> ReadScene:
    date, found = compare_by_index(
        own, _list_optical(request, _list_gone(own, replaced)), request.out_dir, describe=convert_reason
    )
    series = [row for row in _list_series(date, found, (), request) if row.quantity != PROBABILITY]
    return _make_result(answer, date, request, [_judgement(date, found)], series, replaced, notes)


def _list_optical(request: SceneRequest, gone: Collection[str]) -> list[KnownDate]:
    return [d for d in request.dates if d.scene_hash not in gone and d.model != RADAR]


def _add_index(
    own: records.StoredDate, found: records.ComparisonResult, request: SceneRequest, gone: Collection[str]
) -> records.ComparisonResult:
    """Add a line and a file about the change of the colour index to the comparison of a network."""
    compared = add_index_comparison(own, found, _list_optical(request, gone), request.out_dir, describe=convert_reason)
    if (line := compared.sum_up()) is None:
        return found
    outputs = {**found.outputs, "index_outlines": compared.result.outputs["outlines"]}
    return replace(found, warnings=(*found.warnings, line), outputs=outputs)


def _make_result(
    answer: SceneDetection,
    own: records.StoredDate,
    request: SceneRequest,
    judged: Sequence[DateAssessment],
    series: Sequence[PlaceValue],
    replaced: Sequence[KnownVersion],
    notes: tuple[str, ...],
) -> ReadScene:
    undrawn = () if request.relief is None else _draw_relief(own, request.relief)
    return ReadScene(
        scene_hash=answer["scene_hash"],
        model=answer["model"],
        model_hash=answer["model_hash"],
        acquired_at=own.acquired_at,
        role=answer.get("role") or "single",
        crs=answer["crs"],
        pixel_area_m2=answer["pixel_area_m2"],
        valid_share=answer["valid_share"],
        classes=own.classes,
        threshold=own.threshold,
        minimum_area_m2=own.minimum_area_m2,
        warnings=(*map(convert_reason, answer["warnings"]), *notes, *undrawn),
        doubts=tuple(map(convert_reason, own.doubts)),
        doubtful=own.doubtful,
        cloudy=own.cloudy,
        outputs=answer["outputs"],
        polygons=tuple(map(_outline, own.outlines)),
        weights_path="",
        card=dict(CARD),
        judgements=tuple(judged),
        series=tuple(series),
        replaced=tuple(sorted(v.scene_hash for v in replaced)),
        prior=answer["prior"],
        dem=None if answer["dem"] is None else dict(answer["dem"]),
        priors={one["polygon_id"]: one["prior"] for one in answer["polygons"] if one["prior"] is not None},
        broken=_check_own(answer, request.own),
    )


def _check_own(answer: SceneDetection, own: Sequence[str]) -> dict[str, str | None]:
    """Return, by hash of each network of the site that was tried, why it cannot be run, or None if it can.

    Networks whose files are damaged are left out. Another check reports them.
    """
    found: dict[str, str | None] = {}
    for one in answer.get("refused", ()):
        with contextlib.suppress(ModelError):
            if one["weights"] in own:
                found[read_weights(one["weights"]).model_hash] = convert_reason(one["why"]) if one["broken"] else None
    return found | ({answer["model_hash"]: None} if answer.get("weights") in own else {})


def _with_heights(
    request: SceneRequest, scene: Scene, prior: Path | None, work: Path
) -> tuple[SceneDetection, str | None, tuple[str, ...]]:
    """Detect landslides in a scene. Use the heights of the site if the scene has none.

    A scene does not fail because of the heights of the site. If they cannot be used, there is a warning.

    Returns:
        The detection, the path of the heights of the site or None, and warnings.
    """
    options = DetectionOptions(
        Path(request.scene_path),
        request.weights,
        request.own,
        request.out_dir,
        quality=request.quality,
        minimum_area_m2=request.minimum_area_m2,
        owner=request.owner,
        prior=prior,
        later=True,
        describe=convert_reason,
    )
    if request.dem is None or scene.dem is not None:
        return detect(options), None, ()
    try:
        found = gather_heights(request.dem, Path(request.scene_path), work)
        return detect(replace(options, dem=found.path, dem_tiles=found.tiles)), str(found.path), found.notes
    except (CoverageError, HeightsError) as error:
        return detect(options), None, (f"no terrain: {describe_error(error)}",)


def _give_heights(own: records.StoredDate, dates: Sequence[KnownDate], dem: Path | None, work: Path) -> list[KnownDate]:
    """Return the dates, with the heights of the site for those that need them again.

    Dates that are judged again need them, and compared dates whose image is placed by means of heights.
    """
    before, later = ({one.scene_hash for one in some} for some in (choose_before(own, dates), _list_later(own, dates)))
    return [
        _give_own(date, dem, work, always=date.scene_hash in later) if date.scene_hash in before | later else date
        for date in dates
    ]


def _give_own(date: KnownDate, dem: Path | None, work: Path, *, always: bool) -> KnownDate:
    try:
        scene = read_scene(Path(date.scene_path), date.acquired_at)
        placed = next((inspect(band.path).placing for band in scene.bands.values()), ())
        if dem is None or scene.dem is not None or not (always or placed):
            return date
        return replace(date, dem=str(gather_heights(dem, Path(date.scene_path), work / date.scene_hash[:16]).path))
    except (ImageryError, OSError):
        return date  # its files are missing, or the heights do not cover it


def _list_later(own: records.StoredDate, dates: Sequence[KnownDate]) -> list[KnownDate]:
    later = (date for date in dates if date.acquired_at > own.acquired_at)
    return sorted(later, key=lambda date: (date.acquired_at, date.scene_hash))[:AGAIN_MOST]


def _draw_relief(own: records.StoredDate, out: Path) -> tuple[str, ...]:
    from detection.imagery.tiles.relief import draw_relief

    try:
        scene = Path(own.scene_path)
        dem = own.dem or (read_scene(scene).dem if scene.is_dir() else None)
        if dem is not None:
            draw_relief(Path(dem), out, RELIEF_TILES)
    except (ImageryError, OSError) as error:
        return (f"no relief for the map: {describe_error(error)}",)
    return ()


def _show_prior(request: SceneRequest) -> tuple[Path | None, tuple[str, ...]]:
    if request.prior is None or request.prior_picture is None:
        return None, ()
    try:
        request.prior_picture.parent.mkdir(parents=True, exist_ok=True)
        hooks().draw_scene_prior(prior=request.prior, picture=request.prior_picture)
    except Exception as error:  # of a third-party plugin as well; the scene is read without the map
        return None, (f"no susceptibility: {describe_error(error)}",)
    return request.prior, ()


def _outline(one: records.PlacedOutline) -> records.PlacedOutline:
    return records.PlacedOutline(one.polygon_id, one.kind, one.geometry, one.bbox, one.area_m2, one.mean_probability)


def _judgement(date: records.StoredDate, found: records.ComparisonResult) -> DateAssessment:
    changes = {**found.changes, **{one.outline.polygon_id: one.change for one in found.vanished}}
    vanished = tuple(one.outline for one in found.vanished)
    return DateAssessment(
        date.scene_hash, changes, vanished, messages_to_plain(convert_reasons_within(found.to_json()))
    )


def _assess_dates(
    own: records.StoredDate,
    others: Sequence[KnownDate],
    request: SceneRequest,
    replaced: Sequence[records.KnownOutline],
) -> list[tuple[records.StoredDate, records.ComparisonResult]]:
    first = compare(own, others, request.out_dir, describe=convert_reason)
    first = replace(first, changes=keep_lines(own.outlines, first.changes, map(records.parse_geometry, replaced)))
    found: list[tuple[records.StoredDate, records.ComparisonResult]] = [(own, first)]
    dates: list[records.StoredDate] = [*others, records.apply_changes(own, first.changes)]
    for date in _list_later(own, others):
        # Vanished outlines are judged again, so only outlines of the date itself are passed.
        bare = replace(date, polygons=tuple(one for one in date.outlines if not one.is_gone))
        others_now = [d for d in dates if d.scene_hash != date.scene_hash]
        try:
            judged = compare(bare, others_now, Path(date.out_dir), describe=convert_reason)
        except ImageryError:
            continue  # its files are missing, so its earlier judgement stays
        found.append((bare, judged))
        dates = [*others_now, records.apply_changes(bare, judged.changes)]
    return found


def _list_series(
    own: records.StoredDate,
    judged: records.ComparisonResult,
    others: Sequence[records.StoredDate],
    request: SceneRequest,
) -> list[PlaceValue]:
    circles = [MeasuredPlace(name, Circle(lon, lat, request.near_m)) for name, (lon, lat) in request.stations.items()]
    outlines: list[tuple[records.PlacedOutline, records.FootprintChange]] = [
        (one, judged.changes[one.polygon_id]) for one in own.outlines
    ]
    outlines += [(one.outline, one.change) for one in judged.vanished]
    distances = list_distances([one.geometry for one, _ in outlines], request.stations)
    near = [
        (found[0][0], -one.area_m2, one.polygon_id, change, one)
        for (one, change), found in zip(outlines, distances, strict=True)
        if found and found[0][0] <= request.near_m
    ]
    followed = sorted(near, key=lambda item: item[:3])[:FOLLOWED_MOST]
    places = [MeasuredPlace(f"{LANDSLIDE_PREFIX}{change.root_id[:12]}", one.geometry) for *_, change, one in followed]
    rows = _measure(own, [*circles, *places])
    before = max((d for d in others if d.acquired_at < own.acquired_at), key=lambda d: d.acquired_at, default=None)
    fresh = [place for place, (*_, change, _) in zip(places, followed, strict=True) if change.change == "new"]
    if before is not None and fresh:
        rows += _measure(before, fresh)
    return rows


def _measure(date: records.StoredDate, places: Sequence[MeasuredPlace]) -> list[PlaceValue]:
    try:
        scene: Scene | None = read_scene(Path(date.scene_path), date.acquired_at)
    except ImageryError:
        scene = None  # its image is missing, but its probabilities are stored
    try:
        means = measure_places(Path(date.prob), scene, places)
    except ImageryError:
        return []
    return [
        PlaceValue(name, quantity, date.acquired_at, value)
        for name, found in means.items()
        for quantity, value in found.items()
    ]
