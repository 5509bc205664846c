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
from detection.imagery.change.classification import continue_lines
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

# For at most this many footprints near stations series are stored, the nearest first. More would fill the page.
FOLLOWED_FOOTPRINTS_MOST: Final = 30
# Largest number of relief tiles. Drawing them takes up to half a minute, and delays the result of the scene.
RELIEF_TILES_MOST: Final = 256
PROBABILITY_QUANTITY: Final = "scene_probability"  # only networks give probabilities
# How many later dates are judged again when a scene arrives late.
REASSESSED_MOST: Final = 5


def try_weights(request: WeightsTrial) -> WeightsTrialResult:
    """Load weights once, so that faults of their tensors are found before they are put into use."""
    try:
        from detection.imagery.neural.model_file import load_model

        load_model(request.path)
    except ModelError as error:
        return WeightsTrialResult(f"cannot be read: {describe_error(error)}")
    except ModuleNotFoundError as error:
        if (missing := explain_missing(error)) is None:
            raise
        return WeightsTrialResult(f"cannot be tried: {missing}")
    return WeightsTrialResult()


def read_one(request: SceneRequest) -> SceneResult:
    """Read one scene, and judge changes in the order in which the scenes were taken, not in that of their arrival."""
    try:
        local = None if request.local is None else asdict(request.local)
        with placing(local), tempfile.TemporaryDirectory(prefix="scene-") as work:
            return SceneResult(read=_read_one(request, Path(work)))
    except _MissingOutlinesError:
        return SceneResult(needs_outlines=True)
    except _SceneWaitsError as waiting:
        return SceneResult(waiting=describe_error(waiting), may_arrive=waiting.may_arrive)
    except _ElsewhereError as error:
        return SceneResult(elsewhere=error.elsewhere)
    except ImageryError as error:
        return SceneResult(error=describe_error(error))


class _SceneWaitsError(Exception):
    """Files, weights or packages are missing. `may_arrive`: these may arrive without an act of a person."""

    def __init__(self, reason: str, *, may_arrive: bool) -> None:
        super().__init__(reason)
        self.may_arrive = may_arrive


class _ElsewhereError(Exception):
    """The scene lies outside the area of the site."""

    def __init__(self, elsewhere: Elsewhere) -> None:
        super().__init__(f"{elsewhere.distance_m:.0f} m from the site")
        self.elsewhere = elsewhere


class _MissingOutlinesError(Exception):
    """The comparison needs footprints of dates that the request does not contain."""


@dataclass(frozen=True, slots=True)
class _NetworkReading:
    """A scene that a network read, and its comparison with other dates."""

    answer: SceneDetection  # what `detect` returned
    this_date: records.StoredDate
    same_network: Sequence[records.StoredDate]  # the other dates that the same network read
    replaced: Sequence[KnownVersion]
    warnings: tuple[str, ...]  # in addition to those of `answer`
    judgements: list[tuple[records.StoredDate, records.ComparisonResult]]  # of this date first, then of later dates


def _read_one(request: SceneRequest, work: Path) -> ReadScene:
    """Read one scene. Raise `_SceneWaitsError` if files, weights or packages are missing."""
    try:
        read = _read_and_compare(request, work)
    except IncompleteSceneError as error:
        raise _SceneWaitsError(describe_error(error), may_arrive=True) from error
    except ModelError as error:
        raise _SceneWaitsError(describe_error(error), may_arrive=False) from error
    except ModuleNotFoundError as error:
        if (missing := explain_missing(error)) is None:
            raise
        raise _SceneWaitsError(missing, may_arrive=False) from error
    return read if isinstance(read, ReadScene) else _describe_reading(request, read)


def _read_and_compare(request: SceneRequest, work: Path) -> ReadScene | _NetworkReading:
    """Read a scene by a method of a plugin, by the index, or by a network.

    A scene read by a network is compared with the dates of the same network.
    """
    if reason := find_missing(Path(request.scene_path)):
        raise _SceneWaitsError(reason, may_arrive=True)
    scene = read_scene(Path(request.scene_path))
    area_warnings = _check_area(request, scene)
    method = find_method(scene)
    if method is not None:
        _require_outlines(method.list_compared(request, scene))
        read = method.read(request, scene)
        return replace(read, warnings=(*read.warnings, *area_warnings))
    if is_radar(scene):
        raise _SceneWaitsError(describe_package("slopeward_earth", "change between radar scenes"), may_arrive=False)
    prior, prior_warnings = _draw_prior(request)
    answer, dem, height_warnings = _detect_with_heights(request, scene, prior, work)
    warnings = (*prior_warnings, *height_warnings, *area_warnings)
    this_date = as_date(answer, request.scene_path, dem)
    replaced = [
        version
        for version in request.versions
        if version.acquired_at == this_date.acquired_at and version.scene_hash != this_date.scene_hash
    ]
    if answer["model"] == INDEX:
        return _read_by_index(answer, this_date, request, replaced, warnings)
    superseded = _list_superseded(this_date, replaced)
    same_network = [
        date for date in request.dates if date.model_hash == answer["model_hash"] and date.scene_hash not in superseded
    ]
    if dem is not None:
        same_network = _add_heights(this_date, same_network, request.dem, work)
    # If later dates are judged again, these may be compared with any of the dates.
    is_late = any(date.acquired_at > this_date.acquired_at for date in same_network)
    _require_outlines(same_network if is_late else choose_before(this_date, same_network))
    replaced_outlines = [outline for version in replaced for outline in version.polygons]
    judgements = _assess_dates(this_date, same_network, request, replaced_outlines)
    return _NetworkReading(answer, this_date, same_network, replaced, warnings, judgements)


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
    """Raise `_MissingOutlinesError` if the request does not contain the footprints of one of the dates."""
    if any(date.polygons is None for date in dates):
        raise _MissingOutlinesError


def _list_superseded(this_date: records.StoredDate, replaced: Iterable[KnownVersion]) -> set[str]:
    """Return the hashes of scenes that are no earlier dates: this scene, and the versions that it replaces."""
    return {this_date.scene_hash, *(version.scene_hash for version in replaced)}


def _describe_reading(request: SceneRequest, read: _NetworkReading) -> ReadScene:
    from detection.imagery.neural.model_file import load_model

    answer, this_date = read.answer, read.this_date
    weights = answer.get("weights", request.weights)
    superseded = _list_superseded(this_date, read.replaced)
    comparison = _add_index(this_date, read.judgements[0][1], request, superseded)
    assessments = [_make_assessment(this_date, comparison)]
    assessments += [_make_assessment(date, later_comparison) for date, later_comparison in read.judgements[1:]]
    series = _list_series(this_date, comparison, read.same_network, request)
    return replace(
        _make_result(answer, this_date, request, assessments, series, read.replaced, read.warnings),
        weights_path=str(weights_path(weights)),
        card=dict(load_model(weights).card),
        doubtful_tiles=find_doubtful(Path(this_date.probability_path), this_date.threshold, len(this_date.classes)),
    )


def _read_by_index(
    answer: SceneDetection,
    this_date: records.StoredDate,
    request: SceneRequest,
    replaced: Sequence[KnownVersion],
    warnings: tuple[str, ...],
) -> ReadScene:
    optical_dates = _list_optical(request, _list_superseded(this_date, replaced))
    date, comparison = compare_by_index(this_date, optical_dates, request.out_dir, describe=convert_reason)
    series = [row for row in _list_series(date, comparison, (), request) if row.quantity != PROBABILITY_QUANTITY]
    return _make_result(answer, date, request, [_make_assessment(date, comparison)], series, replaced, warnings)


def _list_optical(request: SceneRequest, superseded: Collection[str]) -> list[KnownDate]:
    return [date for date in request.dates if date.scene_hash not in superseded and date.model != RADAR]


def _add_index(
    this_date: records.StoredDate,
    comparison: records.ComparisonResult,
    request: SceneRequest,
    superseded: Collection[str],
) -> records.ComparisonResult:
    """Add a line and a file about the change of the index of red and green to the comparison of a network."""
    optical_dates = _list_optical(request, superseded)
    by_index = add_index_comparison(this_date, comparison, optical_dates, request.out_dir, describe=convert_reason)
    line = by_index.sum_up()
    if line is None:
        return comparison
    outputs = {**comparison.outputs, "index_outlines": by_index.result.outputs["outlines"]}
    return replace(comparison, warnings=(*comparison.warnings, line), outputs=outputs)


def _make_result(
    answer: SceneDetection,
    this_date: records.StoredDate,
    request: SceneRequest,
    assessments: Sequence[DateAssessment],
    series: Sequence[PlaceValue],
    replaced: Sequence[KnownVersion],
    warnings: tuple[str, ...],
) -> ReadScene:
    relief_warnings = () if request.relief is None else _draw_relief(this_date, request.relief)
    return ReadScene(
        scene_hash=answer["scene_hash"],
        model=answer["model"],
        model_hash=answer["model_hash"],
        acquired_at=this_date.acquired_at,
        role=answer.get("role") or "single",
        crs=answer["crs"],
        pixel_area_m2=answer["pixel_area_m2"],
        valid_share=answer["valid_share"],
        classes=this_date.classes,
        threshold=this_date.threshold,
        minimum_area_m2=this_date.minimum_area_m2,
        warnings=(*map(convert_reason, answer["warnings"]), *warnings, *relief_warnings),
        doubts=tuple(map(convert_reason, this_date.doubts)),
        doubtful=this_date.doubtful,
        cloudy=this_date.cloudy,
        outputs=answer["outputs"],
        polygons=tuple(map(_make_outline, this_date.outlines)),
        weights_path="",
        card=dict(CARD),
        judgements=tuple(assessments),
        series=tuple(series),
        replaced=tuple(sorted(version.scene_hash for version in replaced)),
        prior=answer["prior"],
        dem=None if answer["dem"] is None else dict(answer["dem"]),
        priors={
            footprint["polygon_id"]: footprint["prior"]
            for footprint in answer["polygons"]
            if footprint["prior"] is not None
        },
        broken=_check_own_weights(answer, request.own),
    )


def _check_own_weights(answer: SceneDetection, own_weights: Sequence[str]) -> dict[str, str | None]:
    """Return, by hash of each network of the site that was tried, why it cannot be run, or None if it can.

    Networks whose files are damaged are left out. Another check reports them.
    """
    faults: dict[str, str | None] = {}
    for refusal in answer.get("refused", ()):
        if refusal["weights"] not in own_weights:
            continue
        with contextlib.suppress(ModelError):
            model_hash = read_weights(refusal["weights"]).model_hash
            faults[model_hash] = convert_reason(refusal["why"]) if refusal["broken"] else None
    if answer.get("weights") in own_weights:
        faults[answer["model_hash"]] = None
    return faults


def _detect_with_heights(
    request: SceneRequest, scene: Scene, prior: Path | None, work: Path
) -> tuple[SceneDetection, str | None, tuple[str, ...]]:
    """Detect landslides in a scene. Use the heights of the site if the scene has none.

    If the heights of the site cannot be used, the scene is read without heights, and a warning is returned.

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
        heights = gather_heights(request.dem, Path(request.scene_path), work)
        answer = detect(replace(options, dem=heights.path, dem_tiles=heights.tiles))
        return answer, str(heights.path), heights.notes
    except (CoverageError, HeightsError) as error:
        return detect(options), None, (f"no terrain: {describe_error(error)}",)


def _add_heights(
    this_date: records.StoredDate, dates: Sequence[KnownDate], dem: Path | None, work: Path
) -> list[KnownDate]:
    """Return the dates, with the heights of the site for those whose comparison needs them again.

    These are the dates that are judged again, and the dates before this one whose image is placed by means of heights.
    """
    before = {date.scene_hash for date in choose_before(this_date, dates)}
    later = {date.scene_hash for date in _list_later(this_date, dates)}
    return [
        _add_heights_to_date(date, dem, work, always=date.scene_hash in later)
        if date.scene_hash in before | later
        else date
        for date in dates
    ]


def _add_heights_to_date(date: KnownDate, dem: Path | None, work: Path, *, always: bool) -> KnownDate:
    try:
        scene = read_scene(Path(date.scene_path), date.acquired_at)
        is_placed_by_heights = bool(next((inspect(band.path).place_notes for band in scene.bands.values()), ()))
        if dem is None or scene.dem is not None or not (always or is_placed_by_heights):
            return date
        return replace(date, dem=str(gather_heights(dem, Path(date.scene_path), work / date.scene_hash[:16]).path))
    except (ImageryError, OSError):
        return date  # its files are missing, or the heights do not cover it


def _list_later(this_date: records.StoredDate, dates: Sequence[KnownDate]) -> list[KnownDate]:
    later = (date for date in dates if date.acquired_at > this_date.acquired_at)
    return sorted(later, key=lambda date: (date.acquired_at, date.scene_hash))[:REASSESSED_MOST]


def _draw_relief(this_date: records.StoredDate, out: Path) -> tuple[str, ...]:
    """Draw the relief of the map from the heights of a scene. Return a warning if that fails."""
    from detection.imagery.tiles.relief import draw_relief

    try:
        scene = Path(this_date.scene_path)
        dem = this_date.dem or (read_scene(scene).dem if scene.is_dir() else None)
        if dem is not None:
            draw_relief(Path(dem), out, RELIEF_TILES_MOST)
    except (ImageryError, OSError) as error:
        return (f"no relief for the map: {describe_error(error)}",)
    return ()


def _draw_prior(request: SceneRequest) -> tuple[Path | None, tuple[str, ...]]:
    """Draw the picture of the susceptibility map. Return the map, or None and a warning if that fails."""
    if request.prior is None or request.prior_picture is None:
        return None, ()
    try:
        request.prior_picture.parent.mkdir(parents=True, exist_ok=True)
        hooks().draw_scene_prior(prior=request.prior, picture=request.prior_picture)
    except Exception as error:  # any error, because the plugin may be of a third party
        return None, (f"no susceptibility: {describe_error(error)}",)
    return request.prior, ()


def _make_outline(outline: records.PlacedOutline) -> records.PlacedOutline:
    """Return the outline without attributes of subclasses, which would not fit the result."""
    return records.PlacedOutline(
        outline.polygon_id, outline.kind, outline.geometry, outline.bbox, outline.area_m2, outline.mean_probability
    )


def _make_assessment(date: records.StoredDate, comparison: records.ComparisonResult) -> DateAssessment:
    """Return the judgements of a date as a record for the database."""
    changes = {**comparison.changes, **{item.outline.polygon_id: item.change for item in comparison.vanished}}
    vanished = tuple(item.outline for item in comparison.vanished)
    described = messages_to_plain(convert_reasons_within(comparison.to_json()))
    return DateAssessment(date.scene_hash, changes, vanished, described)


def _assess_dates(
    this_date: records.StoredDate,
    others: Sequence[KnownDate],
    request: SceneRequest,
    replaced_outlines: Sequence[records.KnownOutline],
) -> list[tuple[records.StoredDate, records.ComparisonResult]]:
    """Compare a date with those before it, then judge later dates again.

    Args:
        this_date: the new date.
        others: the other dates that the same network read.
        request: the request.
        replaced_outlines: outlines of the versions of the scene that this one replaces.

    Returns:
        Each judged date with its comparison, the new date first.
    """
    first = compare(this_date, others, request.out_dir, describe=convert_reason)
    replaced = map(records.parse_geometry, replaced_outlines)
    first = replace(first, changes=continue_lines(this_date.outlines, first.changes, replaced))
    assessed: list[tuple[records.StoredDate, records.ComparisonResult]] = [(this_date, first)]
    dates: list[records.StoredDate] = [*others, records.apply_changes(this_date, first.changes)]
    for date in _list_later(this_date, others):
        # Vanished outlines are judged again, so only outlines of the date itself are passed.
        bare_date = replace(date, polygons=tuple(outline for outline in date.outlines if not outline.is_gone))
        other_dates = [other for other in dates if other.scene_hash != date.scene_hash]
        try:
            comparison = compare(bare_date, other_dates, Path(date.out_dir), describe=convert_reason)
        except ImageryError:
            continue  # its files are missing, so its earlier judgement stays
        assessed.append((bare_date, comparison))
        dates = [*other_dates, records.apply_changes(bare_date, comparison.changes)]
    return assessed


def _list_series(
    this_date: records.StoredDate,
    comparison: records.ComparisonResult,
    others: Sequence[records.StoredDate],
    request: SceneRequest,
) -> list[PlaceValue]:
    """Measure the scene around stations and under the footprints near them.

    Footprints that are new are also measured on the date before, so that their series start with a value from before.
    """
    circles = [MeasuredPlace(name, Circle(lon, lat, request.near_m)) for name, (lon, lat) in request.stations.items()]
    outlines: list[tuple[records.PlacedOutline, records.FootprintChange]] = [
        (outline, comparison.changes[outline.polygon_id]) for outline in this_date.outlines
    ]
    outlines += [(vanished.outline, vanished.change) for vanished in comparison.vanished]
    distances_by_outline = list_distances([outline.geometry for outline, _ in outlines], request.stations)
    near = [
        (distances[0][0], -outline.area_m2, outline.polygon_id, change, outline)
        for (outline, change), distances in zip(outlines, distances_by_outline, strict=True)
        if distances and distances[0][0] <= request.near_m
    ]
    followed = sorted(near, key=lambda item: item[:3])[:FOLLOWED_FOOTPRINTS_MOST]
    places = [
        MeasuredPlace(f"{LANDSLIDE_PREFIX}{change.root_id[:12]}", outline.geometry) for *_, change, outline in followed
    ]
    values = _measure(this_date, [*circles, *places])
    earlier = (date for date in others if date.acquired_at < this_date.acquired_at)
    date_before = max(earlier, key=lambda date: date.acquired_at, default=None)
    new_places = [place for place, (*_, change, _) in zip(places, followed, strict=True) if change.change == "new"]
    if date_before is not None and new_places:
        values += _measure(date_before, new_places)
    return values


def _measure(date: records.StoredDate, places: Sequence[MeasuredPlace]) -> list[PlaceValue]:
    try:
        scene: Scene | None = read_scene(Path(date.scene_path), date.acquired_at)
    except ImageryError:
        scene = None  # its image is missing, but its probabilities are stored
    try:
        means_by_place = measure_places(Path(date.probability_path), scene, places)
    except ImageryError:
        return []
    return [
        PlaceValue(name, quantity, date.acquired_at, value)
        for name, means in means_by_place.items()
        for quantity, value in means.items()
    ]
