"""Find where the ground changed since the last radar scenes of the same orbit, in a worker without a database."""

import hashlib
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
from shapely import STRtree
from shapely.geometry import shape as shape_of

from detection.imagery.change.records import FootprintChange, PlacedOutline, join_cautions, parse_geometry
from detection.imagery.errors import ImageryError
from detection.imagery.footprints.places import COHERENCE, measure_places
from detection.imagery.footprints.preview import write_preview
from detection.imagery.footprints.records import RADAR, Circle, MeasuredPlace
from detection.imagery.raster.areas import pixel_area_m2
from detection.imagery.raster.components import NODATA
from detection.imagery.raster.overlay import strips
from detection.imagery.raster.raster import read_grid, writing_geotiff
from detection.imagery.scene.radar_bands import is_radar
from detection.imagery.scene.scene import Scene, read_scene, scene_hash
from detection.reasons import Reason
from monitor.api.scenes import DateAssessment, KnownDate, PlaceValue, ReadScene, SceneMethod, SceneRequest
from monitor.api.text import Figure, Message, Template, convert_reason, describe_error, hide_folder, messages_to_plain
from slopeward_earth.radar.change import check_image, find_radar_change
from slopeward_earth.radar.dates import find_difference, of_scene
from slopeward_earth.radar.outputs import FILES
from slopeward_earth.radar.records import RadarChange, RadarRequest

BEFORE_MOST: Final = 3  # earlier images whose mean is the ground before
OLDEST: Final = timedelta(days=90)  # growth and seasons change backscatter too
FALSE_ALARMS: Final = 1e-4
MULTILOOK: Final = 3
OUTLINES_MOST: Final = 5000  # of one scene, the largest
CLASS: Final = "disturbance"
ADVICE: Final = Template("radar.advice", "change by radar is advice only")()
_NO_EARLIER: Final = Template(
    "radar.no_earlier",
    "no earlier radar scene of this orbit within {days} days: the next one is compared with this one",
)
_LARGEST: Final = Template("radar.largest", "the largest {n} of {count} outlines are kept")
_HIDDEN: Final = Template(
    "radar.hidden", "optical scene of {day} is {percent} % cloud or without data, so radar of the same week is used"
)
_INCIDENCE: Final = Template("radar.incidence", "the incidence of the radar differs")()
SAME_SHARE: Final = 0.5  # of the smaller outline: then it is one that was seen before
WEEK: Final = timedelta(days=7)
HIDDEN_SHARE: Final = 0.3  # of the optical scene of that week: then it is said
CARD: Final[dict[str, Any]] = {
    "name": RADAR,
    "method": "log-ratio of mean backscatter against Fisher's F, and fall of coherence",
    "version": 1,
    "false_alarms": FALSE_ALARMS,
    "multilook": MULTILOOK,
    "before_most": BEFORE_MOST,
    "limits": ["Advice only: rain, snow, harvest and works change backscatter too."],
}
MODEL_HASH: Final = hashlib.sha256(json.dumps(CARD, sort_keys=True).encode()).hexdigest()


def list_before(scene: Scene, dates: tuple[KnownDate, ...]) -> tuple[list[tuple[KnownDate, Scene]], list[str]]:
    """Earlier radar scenes of one geometry, the newest first, and why others cannot be compared."""
    own, found = of_scene(scene), []
    unfit: list[str] = []
    for date in sorted(dates, key=lambda one: one.acquired_at, reverse=True):
        if date.model_hash != MODEL_HASH or not scene.acquired_at - OLDEST <= date.acquired_at < scene.acquired_at:
            continue
        try:
            other = read_scene(Path(date.scene_path), date.acquired_at)
            if is_radar(other) and find_difference(own, of_scene(other)) is None:
                check_image(of_scene(other), own)
                found.append((date, other))
        except ImageryError as error:
            unfit.append(_describe_unfit([date], error))
        if len(found) == BEFORE_MOST:
            break
    return found, unfit[:BEFORE_MOST]


def _describe_unfit(dates: list[KnownDate], error: ImageryError) -> Message:
    text = describe_error(error)
    for date in dates:
        text = hide_folder(text, Path(date.scene_path).parent)
    days = tuple(f"{date.acquired_at:%Y-%m-%d}" for date in dates)
    return convert_reason(Reason("change.not_compared", {"scene": days, "text": text}))


def read_radar_scene(request: SceneRequest, scene: Scene) -> ReadScene:
    """Compare a radar scene with the last ones of its orbit; of the first one there is nothing to say."""
    own_hash = scene_hash(scene, request.owner)
    check_image(of_scene(scene), of_scene(scene))
    before, unfit = list_before(scene, request.dates)
    request.out_dir.mkdir(parents=True, exist_ok=True)
    cautions = [ADVICE, *_describe_hidden(scene, request.dates)]
    found, before, lines = _compare(request, scene, before, own_hash)
    warnings = [*unfit, *lines]
    if found is not None:
        warnings, outputs = [*warnings, *found.warnings], dict(found.outputs)
    else:
        warnings, outputs = warnings or [_NO_EARLIER(days=OLDEST.days)], _write_first(scene, request.out_dir)
    grid = read_grid(of_scene(scene).file)
    changes = {} if found is None else _classify_changes(scene, own_hash, found, before, cautions)
    outlines = tuple(
        PlacedOutline(one.polygon_id, CLASS, one.geometry, one.bbox, one.area_m2, 0.0)
        for one in (found.outlines if found else ())
    )
    return ReadScene(
        scene_hash=own_hash,
        model=RADAR,
        model_hash=MODEL_HASH,
        acquired_at=scene.acquired_at,
        role=scene.role,
        crs=grid.crs_name,
        pixel_area_m2=round(pixel_area_m2(grid), 4),
        valid_share=1.0 if found is None else found.valid_share,
        classes=(CLASS,),
        threshold=0.5,
        minimum_area_m2=_least_area_m2(request),
        warnings=(*scene.remarks, *warnings, *cautions[1:]),
        outputs=outputs,
        polygons=outlines,
        weights_path="",
        card=CARD,
        judgements=(DateAssessment(own_hash, changes, (), _describe_compared(found, before)),),
        series=_list_coherence(scene, Path(outputs["prob"]), request),
        replaced=tuple(
            sorted(
                v.scene_hash
                for v in request.versions
                if v.acquired_at == scene.acquired_at and v.scene_hash != own_hash
            )
        ),
    )


def _compare(
    request: SceneRequest, scene: Scene, before: list[tuple[KnownDate, Scene]], own_hash: str
) -> tuple[RadarChange | None, list[tuple[KnownDate, Scene]], list[str]]:
    """Compare with the mean of the dates before; where that fails without coherence, and then with the newest alone.

    Raises:
        ImageryError: the scene itself cannot be read.
    """
    tries = []
    if before:
        whole = _make_request(request, scene, before, own_hash)
        bare = replace(whole, coherence=None)
        tries = [(before, whole)]
        tries += [(before, bare)] if whole.coherence else []
        tries += [(before[:1], replace(bare, before=bare.before[-1:]))] if before[1:] else []
    lines: list[str] = []
    for dates, one in tries:
        try:
            found = find_radar_change(one)
        except ImageryError as error:
            if error.path is not None and error.path.is_relative_to(scene.path):
                raise
            lines.append(_describe_unfit([date for date, _ in dates], error))
        else:
            most = len(found.outlines)
            if most > OUTLINES_MOST:
                lines.append(_LARGEST(n=OUTLINES_MOST, count=Figure(most, "d")))
            return replace(found, outlines=found.outlines[:OUTLINES_MOST]), dates, lines
    return None, [], lines


def _least_area_m2(request: SceneRequest) -> float:
    return RadarRequest().minimum_area_m2 if request.minimum_area_m2 is None else request.minimum_area_m2


def _make_request(
    request: SceneRequest, scene: Scene, before: list[tuple[KnownDate, Scene]], own_hash: str
) -> RadarRequest:
    newest, own = _find_coherence(before[0][1]), _find_coherence(scene)
    return RadarRequest(
        before=tuple(other.path for _, other in reversed(before)),
        after=(scene.path,),
        mask=scene.shadow,
        coherence=(newest, own) if newest and own else None,
        multilook=MULTILOOK,
        false_alarms=FALSE_ALARMS,
        minimum_area_m2=_least_area_m2(request),
        out_dir=request.out_dir,
        identity=f"{own_hash}:{MODEL_HASH}",
    )


def _find_coherence(scene: Scene) -> Path | None:
    bands = (scene.bands[name] for name in COHERENCE if name in scene.bands)
    return next((band.path for band in bands if band.index == 1), None)


def _describe_hidden(scene: Scene, dates: tuple[KnownDate, ...]) -> list[str]:
    """Where the optical scene of the week hides much, that is said: it is why radar is looked at."""
    near = [
        date
        for date in dates
        if date.model_hash != MODEL_HASH
        and date.valid_share is not None
        and abs(date.acquired_at - scene.acquired_at) <= WEEK
    ]
    if not near:
        return []
    best = max(near, key=lambda date: date.valid_share or 0.0)
    hidden = 1.0 - (best.valid_share or 0.0)
    if hidden < HIDDEN_SHARE:
        return []
    day = f"{best.acquired_at:%Y-%m-%d}"
    return [_HIDDEN(day=day, percent=Figure(100 * hidden, ".0f"))]


def _classify_changes(
    scene: Scene, own_hash: str, found: RadarChange, before: list[tuple[KnownDate, Scene]], cautions: list[str]
) -> dict[str, FootprintChange]:
    """New, or seen before on one of the images that it is compared with; always with a caution."""
    known = [(one, date) for date, _ in before for one in date.outlines if not one.is_gone]
    shapes = [shape_of({**parse_geometry(one).geometry}) for one, _ in known]
    tree = STRtree(shapes)
    changes = {}
    for outline in found.outlines:
        body = shape_of({**outline.geometry})
        parent = next(
            (
                known[k]
                for k in sorted(tree.query(body, predicate="intersects"))
                if body.intersection(shapes[k]).area >= SAME_SHARE * min(body.area, shapes[k].area)
            ),
            None,
        )
        caution = join_cautions(*cautions, _INCIDENCE if outline.uncertain else None)
        first = scene.acquired_at if parent is None else parent[0].first_seen_at or parent[1].acquired_at
        changes[outline.polygon_id] = FootprintChange(
            change="new" if parent is None else "known",
            parent_id=None if parent is None else parent[0].polygon_id,
            grown_m2=None,
            since_at=before[0][0].acquired_at,
            root_id=outline.polygon_id if parent is None else parent[0].root_id or parent[0].polygon_id,
            first_seen_at=first,
            anchor_scene=own_hash,
            caution=None if caution is None else convert_reason(caution),
        )
    return changes


def _describe_compared(found: RadarChange | None, before: list[tuple[KnownDate, Scene]]) -> dict[str, Any]:
    if found is None:
        return {"compared": [], "warnings": [], "outputs": {}, "method": RADAR}
    document = found.to_json()
    document.pop("outlines")
    compared = [
        {"scene_hash": date.scene_hash, "acquired_at": date.acquired_at.isoformat(), "cautions": []}
        for date, _ in before
    ]
    return {
        **document,
        "compared": compared,
        "warnings": messages_to_plain(found.warnings),
        "outputs": {"change": found.outputs["change"], "picture": found.outputs["preview"]},
    }


def _write_first(scene: Scene, out: Path) -> dict[str, Any]:
    grid = read_grid(of_scene(scene).file)
    with writing_geotiff(out / FILES["prob"], grid, "uint8", nodata=NODATA) as write:
        for column, row, width, height in strips(grid):
            write(np.full((height, width), NODATA, np.uint8), column, row)
    bounds = write_preview(scene, [], out / FILES["preview"], grid)
    return {"prob": str(out / FILES["prob"]), "preview": str(out / FILES["preview"]), "bounds": bounds}


def _list_coherence(scene: Scene, prob: Path, request: SceneRequest) -> tuple[PlaceValue, ...]:
    if _find_coherence(scene) is None:
        return ()
    places = [MeasuredPlace(name, Circle(lon, lat, request.near_m)) for name, (lon, lat) in request.stations.items()]
    means = measure_places(prob, scene, places)
    return tuple(
        PlaceValue(name, "coherence", scene.acquired_at, found["coherence"])
        for name, found in means.items()
        if "coherence" in found
    )


def _list_compared(request: SceneRequest, scene: Scene) -> list[KnownDate]:
    return [date for date, _ in list_before(scene, request.dates)[0]]


METHOD: Final = SceneMethod(is_radar, _list_compared, read_radar_scene)
