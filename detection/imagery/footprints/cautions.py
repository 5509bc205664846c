"""Warnings of a result, and cautions of outlines: why a result or an outline is advice only."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import shapely

from detection.imagery.footprints.records import COARSER, INDEX, SceneDetection
from detection.imagery.raster.areas import AREA_TOLERANCE, area_error, pixel_sides_m
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.overlay import join_windows, shapes_of, to_pixels
from detection.imagery.scene.border import NOISE, VALUES, list_doubtful
from detection.imagery.scene.built_ground import BuiltGround, describe_built, describe_built_ground
from detection.imagery.scene.radiometry import LOCAL, find_pixel_m
from detection.imagery.scene.reader import BandReader
from detection.imagery.scene.resized import describe_pixels
from detection.imagery.scene.scene import Scene
from detection.imagery.scene.white import PIXELS_M, is_measured_size
from detection.imagery.scene.white_ground import WhiteGround, describe_white, describe_white_ground
from detection.imagery.training.domain import find_season
from detection.imagery.weights_file import ModelCard
from detection.reasons import Explanation, Reason, join_explanations, split_explanation

# There is a warning if the side of a pixel is more than this many times that of a pixel of the training, or less than
# its inverse.
PIXEL_RATIO = 1.5
# An outline on ground whose mean slope is smaller is advice: landslides on such ground are rare, while bare fields and
# river bars are frequent.
FLAT_DEG: Final = 5.0
BORDER: Final = Reason("caution.border")
CLOUD: Final = Reason("caution.cloud")
ONE_DATE: Final = Reason("caution.one_date")
OUTSIDE: Final = "caution.outside"  # code of a warning that the scene is unlike the pictures of the training
# Codes of warnings about weights that `auto` did not use. If no network was used, they are the doubts of a result.
UNUSED_WEIGHTS: Final = frozenset({"weights.unused", "weights.none_fits", "weights.unfit", "weights.all_the_same"})


def list_cautions(
    scene: Scene,
    reader: BandReader,
    card: ModelCard,
    result: SceneDetection,
    doubts: Sequence[Explanation],
    left_out: Mapping[str, int],
) -> list[Explanation]:
    """Return the warnings that follow from a result, one sentence each.

    Args:
        scene: the scene.
        reader: the scene, open.
        card: card of the model.
        result: the result. Its warnings are not used.
        doubts: in which respects the scene is unlike the training, or why no network was used.
        left_out: how many outlines were left out, by reason (`small`, `hugging`, `flat`).
    """
    return [
        *_list_training_warnings(doubts, card),
        *_list_edge_warnings(result),
        *_list_cloud_warnings(result, reader.grid, card),
        *_list_grid_warnings(scene, reader, result),
        *_list_pixel_warnings(scene, reader.grid, card, result),
        *_list_coverage_warnings(result),
        *list_left_out_warnings(result, left_out, placed=reader.grid.placed),
    ]


def list_doubts(warnings: Iterable[Explanation]) -> list[Explanation]:
    """Return why all outlines on a scene are advice, from the warnings of its result.

    The reasons are: the scene is unlike the training, it was resampled to larger pixels, or no network was used.
    """
    doubts: list[Explanation] = []
    for warning in warnings:
        for part in split_explanation(warning):
            if not isinstance(part, Reason):
                continue
            if part.code == OUTSIDE:
                doubts.append(part.values["text"])  # type: ignore[arg-type]  # the text is an explanation
            elif part.code == COARSER or part.code in UNUSED_WEIGHTS:
                doubts.append(part)
    return doubts


def _list_training_warnings(doubts: Sequence[Explanation], card: ModelCard) -> list[Explanation]:
    if card["name"] == INDEX:
        return [join_explanations([*doubts, Reason("caution.index_alone")])]
    warnings: list[Explanation] = [Reason(OUTSIDE, {"model": card["name"], "text": doubt}) for doubt in doubts]
    if card.get("domain") is None:
        warnings.append(f"nobody knows whether {card['name']} was trained on scenes like this: its card does not say")
    return warnings


def _list_edge_warnings(result: SceneDetection) -> Iterator[Explanation]:
    filled = "in every band fills the edge of the scene and is declared nowhere: taken as nodata"
    masked_borders = [border for border in result["borders"] if border["share"]]
    for fill in result["fills"]:
        if not any(abs(fill - VALUES[border["colour"]]) <= NOISE for border in masked_borders):
            yield f"{fill:g} {filled}"
    for border in masked_borders:
        yield (
            f"a {border['colour']} border with the noise of compression, {border['share']:.1%} of the scene, is "
            "declared nowhere: taken as nodata"
        )
    for border in result["borders"]:
        if list_doubtful([border]):
            yield (
                f"{border['left_share']:.1%} of the scene, at its edge, is nearly {border['colour']} in every band: "
                "dark water, shadow or a border; it is taken as ground, and footprints that touch it count for no "
                "warning level; if it is a border, mask it or set nodata"
            )


def _list_grid_warnings(scene: Scene, reader: BandReader, result: SceneDetection) -> Iterator[Explanation]:
    grid = reader.grid
    if scene.calibration and (scene.gain, scene.offset) != (1.0, 0.0):
        yield f"counts are {scene.gain:g} x value {scene.offset:+g} ({scene.calibration})"
    if scene.role == "single":
        yield ONE_DATE
    if not grid.placed:
        yield "no place on the ground: coordinates are pixels, areas are not given, smallest footprint 9 pixels"
    if result["coarser_than_m"]:
        yield from describe_coarser(result["resample_to_m"], result["coarser_than_m"])
    elif result["resample_to_m"]:
        yield f"resampled to pixels of {result['resample_to_m']:g} m"
    elif reader.warped:
        yield f"warped onto the grid of the reference band: {', '.join(reader.warped)}"
    if abs(grid.transform.b) + abs(grid.transform.d) > 0:
        yield "the grid is rotated or sheared; areas go through the full affine"
    if abs(error := area_error(grid)) > AREA_TOLERANCE:
        (a, b, _, d, e), (wide, high) = grid.transform[:5], pixel_sides_m(grid)
        lengths = max(np.hypot(a, d) / wide - 1, np.hypot(b, e) / high - 1, key=abs)
        yield (
            f"{grid.crs_name} is not true to scale here: its lengths are off by {lengths:+.2%}, its "
            f"areas by {error:+.2%}; areas of footprints are measured on the ellipsoid"
        )


def _list_pixel_warnings(scene: Scene, grid: Grid, card: ModelCard, result: SceneDetection) -> Iterator[Explanation]:
    by_index = card["name"] == INDEX
    if result["read_at"]:
        yield describe_pixels(result["read_at"]["pixel_m"], grid, card)
    elif result["pixel_area_m2"] and not by_index:
        pixel_m = result["pixel_area_m2"] ** 0.5
        if not 1 / PIXEL_RATIO <= pixel_m / card["pixel_size_m"] <= PIXEL_RATIO:
            trained_m = f"{card['pixel_size_m']:g}"
            yield (
                f"pixels of {pixel_m:.3g} m, the model was trained at {trained_m} m; --resample-to {trained_m} brings "
                "the scene to them"
            )
    if not by_index and (season := find_season(card.get("domain") or {}, scene.acquired_at.month, _latitude(grid))):
        yield season


def _list_coverage_warnings(result: SceneDetection) -> Iterator[str]:
    if result["valid_share"] < 1:
        yield f"{1 - result['valid_share']:.1%} of the pixels are nodata or cloud; nothing is said about them"
    if result["unreadable_share"]:
        yield f"{result['unreadable_share']:.1%} of the scene cannot be read (damaged file) and is nodata"
    if result["terrain"] and result["terrain"]["covered_share"] < 1:
        yield f"the elevation model covers {result['terrain']['covered_share']:.1%} of the scene"
    if result["flip_rate"] is not None:
        yield (
            f"tiles of this network are blended, not exact: {result['flip_rate']:.2%} of {result['flip_pixels']:,} "
            "pixels change sides when the tiles are moved"
        )


def list_left_out_warnings(result: SceneDetection, left_out: Mapping[str, int], *, placed: bool) -> Iterator[str]:
    """Yield a warning for each reason for which outlines were left out, see `list_cautions`."""
    if left_out["small"]:
        limit = f"{result['minimum_area_m2']:,.4g} m²" if placed else "9 pixels"
        has_others = bool(result["polygons"] or left_out["hugging"] or left_out["flat"])
        advice = "" if has_others else ", which is all that was found; lower it with --mmu"
        yield f"{left_out['small']:,} outlines left out that are smaller than {limit}{advice}"
    if left_out["hugging"]:
        yield f"{left_out['hugging']} outlines left out that only follow the edge of nodata"
    if left_out["flat"]:
        yield f"{left_out['flat']} outlines left out on ground of less than {result['slope_gate_deg']:g} degrees"


def add_outline_cautions(
    result: SceneDetection,
    grid: Grid,
    doubts: Sequence[Explanation],
    white: WhiteGround | None,
    built: BuiltGround | None,
) -> None:
    """Set the caution of each outline of a result, and add warnings about white and built ground.

    Args:
        result: the result with its other warnings; it is changed.
        grid: grid of the scene.
        doubts: why all outlines on the scene are advice.
        white: white ground of the scene; None if it was not measured.
        built: built ground of the scene; None if it was not measured.
    """
    polygons = result["polygons"]
    day = result["acquired_at"][:10]
    doubtful_ground = join_windows(list_doubtful(result["borders"]), grid, grid)
    cloudy_ground = join_windows(result["cloudy"], grid, grid)
    outlines = shapes_of([polygon["geometry"] for polygon in polygons])
    if grid.placed:
        outlines = to_pixels(outlines, grid)
    cautions = list_outline_cautions(outlines, doubts, [(BORDER, doubtful_ground)], cloudy_ground)
    on_white = np.zeros(len(polygons), bool) if white is None else white.find_beside(outlines)
    on_built = np.zeros(len(polygons), bool) if built is None else built.contains(outlines)
    for index, polygon in enumerate(polygons):
        if on_white[index]:
            cautions[index].append(describe_white(day))
        if on_built[index]:
            cautions[index].append(describe_built(day))
        slope_deg = polygon["mean_slope_deg"]
        if slope_deg is not None and slope_deg < FLAT_DEG:
            cautions[index].append(Reason("caution.flat", {"slope": slope_deg}))
        polygon["caution"] = join_explanations(cautions[index]) if cautions[index] else None
    result["warnings"] += describe_white_ground(white, day, int(np.count_nonzero(on_white)))
    result["warnings"] += describe_built_ground(built, day, int(np.count_nonzero(on_built)))


def list_outline_cautions(
    outlines: Any, doubts: Sequence[Explanation], borders: Iterable[tuple[Reason, Any]], cloudy: Any
) -> list[list[Explanation]]:
    """Return for each outline why it is advice: the scene is unlike the training, or it touches a border or a cloud.

    Args:
        outlines: outlines in pixels.
        doubts: why all outlines on the scene are advice.
        borders: cautions, each with the ground in pixels on which it applies; None: no ground.
        cloudy: ground at clouds, in pixels; None: no ground.
    """
    coarser = [doubt for doubt in doubts if isinstance(doubt, Reason) and doubt.code == COARSER]
    unlike = [doubt for doubt in doubts if doubt not in coarser]
    shared: list[Explanation] = [*coarser]
    if unlike:
        shared.insert(0, Reason("caution.unlike", {"text": join_explanations(unlike)}))
    reasons: list[list[Explanation]] = [[*shared] for _ in outlines]
    for caution, ground in [*borders, (CLOUD, cloudy)]:
        if ground is not None:
            for place in np.flatnonzero(shapely.intersects(outlines, ground)):
                reasons[place].append(caution)
    return reasons


def _list_cloud_warnings(result: SceneDetection, grid: Grid, card: ModelCard) -> Iterator[Explanation]:
    """Yield the share of clouds, and a warning if clouds cannot be found on pixels of this size.

    Only weights with a local stretch need clouds to be found: such a stretch removes the brightness of a cloud.
    """
    if result["cloudy"]:
        share = sum(width * height for *_, width, height in result["cloudy"]) / (grid.width * grid.height)
        yield (
            f"{share:.1%} of the scene is bright white cloud or lies beside one: footprints there count for no warning "
            "level until they are seen on a clear date; mask the clouds"
        )
    pixel_m = (result["read_at"] or {}).get("pixel_m") or find_pixel_m(grid)
    if card["radiometry"]["stretch"] in LOCAL and not is_measured_size(pixel_m):
        least, most = PIXELS_M
        if pixel_m is None:
            yield Reason("caution.no_clouds", {"least": least, "most": most})
        else:
            yield Reason("caution.no_clouds_at", {"pixel": pixel_m, "least": least, "most": most})


def describe_coarser(at_m: float | None, pixel_m: float | None) -> list[Reason]:
    """Return the doubt that `auto` resampled a scene from pixels of `pixel_m` to `at_m`; no doubt if one is None."""
    return [Reason(COARSER, {"at": at_m, "pixel": pixel_m})] if at_m and pixel_m else []


def _latitude(grid: Grid) -> float | None:
    if not grid.placed:
        return None
    return float(grid.to_lonlat(*grid.to_crs(np.array([grid.width / 2]), np.array([grid.height / 2])))[1][0])
