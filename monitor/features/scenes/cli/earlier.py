"""Compare a detection with earlier scenes, for `slopeward scenes compare` and `slopeward scenes detect --pre`."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detection.imagery.errors import NoValidPixelsError, SceneError
from detection.imagery.footprints.records import INDEX, SceneDetection
from monitor.api.cli import print_note, warn
from monitor.api.text import FUTURE_TOLERANCE, convert_reason, describe_error

if TYPE_CHECKING:
    from detection.imagery.change.by_index import IndexComparison
    from detection.imagery.change.records import ComparisonResult, StoredDate
    from detection.imagery.footprints.options import DetectionOptions
    from detection.reasons import Explanation

# Changes in the order in which a line counts them.
COUNTED_CHANGES = ("new", "grown", "known", "single")


@dataclass(frozen=True, slots=True)
class EarlierDate:
    """An earlier scene that was read."""

    date: "StoredDate"
    model_hash: str  # of the network that read it


@dataclass(frozen=True, slots=True)
class ComparedDate:
    """A scene that was read and compared with earlier ones."""

    date: "StoredDate"  # with the outlines of the index if no network read it
    result: "ComparisonResult"
    beside: "IndexComparison | None"  # the comparison by the index beside that of a network


def compare_detection(
    detection: SceneDetection, date: "StoredDate", earlier: Sequence[EarlierDate], out_dir: Path
) -> ComparedDate:
    """Compare a scene with earlier ones and write the files of the change.

    The probabilities of a network are compared with those of dates that the same network read. The index of red and
    green is compared with all dates: instead of a network if none read the scene, else beside it.

    Args:
        detection: what was found on the scene.
        date: the same as a record for comparisons.
        earlier: the earlier scenes.
        out_dir: folder for the files.
    """
    from detection.imagery.change.by_index import add_index_comparison, compare_by_index
    from detection.imagery.change.compare import compare

    all_dates = [other.date for other in earlier]
    if detection["model"] == INDEX:
        date, result = compare_by_index(date, all_dates, out_dir, describe=convert_reason)
        return ComparedDate(date, result, None)
    same_network = [other.date for other in earlier if other.model_hash == detection["model_hash"]]
    result = compare(date, same_network, out_dir, describe=convert_reason)
    beside = None
    if all_dates:
        beside = add_index_comparison(date, result, all_dates, out_dir, describe=convert_reason)
    return ComparedDate(date, result, beside)


def check_past(scenes: Iterable[Path], now: datetime) -> None:
    """Refuse scenes whose stated time is in the future, because it is wrong.

    Raises:
        SceneError: the stated time of a scene is in the future.
        ImageryError: a scene cannot be read.
    """
    from detection.imagery.scene.scene import read_scene

    for scene in scenes:
        acquired_at = read_scene(scene).acquired_at
        if acquired_at - now > FUTURE_TOLERANCE:
            raise SceneError(
                f"{scene}: said to be taken at {acquired_at:%Y-%m-%d %H:%M} UTC, in the future; "
                "correct its tag ACQUIRED_AT, its manifest or its name"
            )


def check_order(scene: Path, pre: Path) -> None:
    """Check that the scene before was taken before the scene.

    Raises:
        SceneError: the scene before was taken at the same time or later.
        ImageryError: a scene cannot be read.
    """
    from detection.imagery.scene.scene import read_scene

    acquired_at = read_scene(scene).acquired_at
    pre_acquired_at = read_scene(pre).acquired_at
    if pre_acquired_at >= acquired_at:
        raise SceneError(
            f"{pre}: taken {pre_acquired_at:%Y-%m-%d %H:%M}, not before {scene} ({acquired_at:%Y-%m-%d %H:%M})"
        )


def not_alone(warnings: "Iterable[Explanation]") -> "list[Explanation]":
    """Return the warnings of one of several dates, without the warning that there is only one date."""
    from detection.imagery.footprints.cautions import ONE_DATE

    return [warning for warning in warnings if warning != ONE_DATE]


def detect_before(
    options: "DetectionOptions", progress: Callable[[str, float], None] = lambda *_: None
) -> SceneDetection | None:
    """Find footprints on the scene before; return None with a note if none of its pixels is valid.

    Args:
        options: options for the scene before; its files are written into the folder `pre` of their `out_dir`.
        progress: see `detect`.
    """
    from detection.imagery.footprints.detect import detect

    assert options.out_dir
    try:
        detection = detect(replace(options, out_dir=options.out_dir / "pre", aoi=None), progress)
    except NoValidPixelsError as error:
        print_note(f"nothing to compare with: {describe_error(error)}")
        return None
    warn(f"{options.scene_path.name}: {convert_reason(warning)}" for warning in not_alone(detection["warnings"]))
    return detection


def compare_with(
    detection: SceneDetection, earlier: SceneDetection, options: "DetectionOptions", pre: "DetectionOptions"
) -> tuple[SceneDetection, dict[str, Any], str]:
    """Compare a detection with that of the scene before, write the files of the change and print its warnings.

    Args:
        detection: what was found on the scene.
        earlier: what was found on the scene before.
        options: options of the scene.
        pre: options of the scene before.

    Returns:
        The detection, with the outlines of the index if no network read the scene; the change for JSON; and a text.
    """
    from detection.imagery.change.records import comparison_to_json, outline_to_json

    date, date_before = list_dates(detection, earlier, options, pre)
    assert options.out_dir
    compared = compare_detection(detection, date, [EarlierDate(date_before, earlier["model_hash"])], options.out_dir)
    result, beside = compared.result, compared.beside
    if beside is None:
        warn(map(convert_reason, result.warnings))
        detection = {**detection, "polygons": [outline_to_json(outline) for outline in compared.date.outlines]}
        return detection, comparison_to_json(result), describe_change(compared.date, result, by_index=True)
    warn(map(convert_reason, dict.fromkeys((*result.warnings, *beside.result.warnings))))
    if earlier["model_hash"] == detection["model_hash"]:
        text = f"{describe_change(date, result)}\n{describe_index_comparison(beside)}"
    else:
        # Without the scene before, the network cannot tell what is new.
        text = describe_change(beside.date, beside.result, by_index=True)
        text += f", by the index of red and green alone, as advice: {detection['model']} does not read the scene before"
    return detection, comparison_to_json(result) | {"by_index": beside.to_json()}, text


def list_dates(
    detection: SceneDetection, earlier: SceneDetection, options: "DetectionOptions", pre: "DetectionOptions"
) -> "tuple[StoredDate, StoredDate]":
    """Return the records of the newer and the older date; see `compare_with`."""
    from detection.imagery.change.compare import as_date

    return as_date(detection, options.scene_path, options.dem), as_date(earlier, pre.scene_path, pre.dem)


def describe_index_comparison(comparison: "IndexComparison") -> str:
    """Return a line on the comparison by the index beside that of a network."""
    result, outlines = comparison.result, comparison.date.outlines
    head = "by the index of red and green, as advice: "
    if result.limit is None or not result.joint_share:
        return head + _describe_no_comparison(result)
    area_m2 = sum(outline.area_m2 for outline in outlines)
    missed = len(outlines) - len(comparison.shared_ids)
    return (
        f"{head}{len(outlines)} barer ({area_m2:,.0f} m²), {missed} of them not found by the network; "
        f"{len(comparison.network_only_ids)} new or grown found by the network alone; "
        f"rise of {result.limit:.2f} or more, {result.joint_share:.1%} compared"
    )


def describe_change(date: "StoredDate", result: "ComparisonResult", *, by_index: bool = False) -> str:
    """Return a line on the changes of a date, or why nothing was compared.

    Args:
        date: the date.
        result: its comparison.
        by_index: whether the outlines are those of the index.
    """
    counts = ", ".join(_count_changes(date, result))
    if not counts and not result.joint_share:
        return _describe_no_comparison(result)
    nothing = "no ground that became barer by the index (no network read it)" if by_index else "no footprint"
    limit = "" if result.limit is None else f"rise of {result.limit:.2f} or more, "
    return f"{counts or nothing}; {limit}{result.joint_share:.1%} compared"


def _describe_no_comparison(result: "ComparisonResult") -> str:
    reason = str(convert_reason(next(iter(result.warnings), "the dates show no ground in common")))
    return reason if reason.startswith("not compared") else f"not compared: {reason}"


def _count_changes(date: "StoredDate", result: "ComparisonResult") -> Iterator[str]:
    """Yield the number and the area of the outlines by change."""
    for name in COUNTED_CHANGES:
        changes = [(outline, result.changes[outline.polygon_id]) for outline in date.outlines]
        changes = [(outline, change) for outline, change in changes if change.change == name]
        if not changes:
            continue
        if name == "grown":
            area = f"+{sum(change.grown_m2 or 0.0 for _, change in changes):,.0f} m²"
        else:
            area = f"{sum(outline.area_m2 for outline, _ in changes):,.0f} m²"
        cautioned = sum(1 for _, change in changes if change.caution) if name in {"new", "grown"} else 0
        advice = f", {cautioned} advice only" if cautioned else ""
        yield f"{len(changes)} {name} ({area}{advice})"
    if result.vanished:
        area_m2 = sum(footprint.outline.area_m2 for footprint in result.vanished)
        yield f"{len(result.vanished)} vanished ({area_m2:,.0f} m²)"
