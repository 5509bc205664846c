"""`slopeward scenes detect --pre`: the scene before, what changed since, and one line that says it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
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

WORDS = ("new", "grown", "known", "single")


def check_past(scenes: Iterable[Path], now: datetime) -> None:
    """Refuse a scene that says it was taken in the future, as the watched folder does: its date is wrong.

    Raises:
        SceneError: one is.
        ImageryError: one of them cannot be read.
    """
    from detection.imagery.scene.scene import read_scene

    for scene in scenes:
        taken = read_scene(scene).acquired_at
        if taken - now > FUTURE_TOLERANCE:
            raise SceneError(
                f"{scene}: said to be taken at {taken:%Y-%m-%d %H:%M} UTC, in the future; "
                "correct its tag ACQUIRED_AT, its manifest or its name"
            )


def check_order(scene: Path, pre: Path) -> None:
    """Refuse a scene before that was not taken before.

    Raises:
        SceneError: it was not.
        ImageryError: one of them cannot be read.
    """
    from detection.imagery.scene.scene import read_scene

    taken, before = read_scene(scene).acquired_at, read_scene(pre).acquired_at
    if before >= taken:
        raise SceneError(f"{pre}: taken {before:%Y-%m-%d %H:%M}, not before {scene} ({taken:%Y-%m-%d %H:%M})")


def not_alone(warnings: "Iterable[Explanation]") -> "list[Explanation]":
    """Warnings of one of several dates: that it is one date only is not so."""
    from detection.imagery.footprints.cautions import ONE_DATE

    return [warning for warning in warnings if warning != ONE_DATE]


def detect_before(
    options: "DetectionOptions", progress: Callable[[str, float], None] = lambda *_: None
) -> SceneDetection | None:
    """Find footprints on the scene before, which `options` name; None where none of its pixels is valid."""
    from detection.imagery.footprints.detect import detect

    assert options.out_dir
    try:
        found = detect(replace(options, out_dir=options.out_dir / "pre", aoi=None), progress)
    except NoValidPixelsError as error:
        print_note(f"nothing to compare with: {describe_error(error)}")
        return None
    warn(f"{options.scene_path.name}: {convert_reason(warning)}" for warning in not_alone(found["warnings"]))
    return found


def compare_with(
    answer: SceneDetection, earlier: SceneDetection, options: "DetectionOptions", pre: "DetectionOptions"
) -> tuple[SceneDetection, dict[str, Any], str]:
    """What changed since the scene before: the answer, the change as JSON has it, and one line.

    Files of the change are written. Where no network was used, the answer gets the outlines that the index found.
    """
    from detection.imagery.change.by_index import add_index_comparison, compare_by_index
    from detection.imagery.change.compare import compare
    from detection.imagery.change.records import comparison_to_json, outline_to_json

    own, before = list_dates(answer, earlier, options, pre)
    out = options.out_dir
    if answer["model"] == INDEX:
        own, found = compare_by_index(own, [before], out, describe=convert_reason)
        warn(map(convert_reason, found.warnings))
        answer = {**answer, "polygons": [outline_to_json(one) for one in own.outlines]}
        return answer, comparison_to_json(found), describe_change(own, found, by_index=True)
    is_read = earlier["model_hash"] == answer["model_hash"]  # else the network says nothing of what is new
    found = compare(own, [before] if is_read else [], out, describe=convert_reason)
    index_found = add_index_comparison(own, found, [before], out, describe=convert_reason)
    warn(map(convert_reason, dict.fromkeys((*found.warnings, *index_found.found.warnings))))
    line = f"{describe_change(own, found)}\n{describe_index_comparison(index_found)}"
    if not is_read:
        line = describe_change(index_found.date, index_found.found, by_index=True)
        line += f", by the index of red and green alone, as advice: {answer['model']} does not read the scene before"
    return answer, comparison_to_json(found) | {"by_index": index_found.to_json()}, line


def list_dates(
    answer: SceneDetection, earlier: SceneDetection, options: "DetectionOptions", pre: "DetectionOptions"
) -> "tuple[StoredDate, StoredDate]":
    """The newer and the older date, as they are compared."""
    from detection.imagery.change.compare import as_date

    return as_date(answer, options.scene_path, options.dem), as_date(earlier, pre.scene_path, pre.dem)


def describe_index_comparison(comparison: "IndexComparison") -> str:
    """One line on what the index says beside a network, and what only one of them found."""
    found, outlines = comparison.found, comparison.date.outlines
    head = "by the index of red and green, as advice: "
    if found.limit is None or not found.joint_share:
        why = str(convert_reason(next(iter(found.warnings), "the dates show no ground in common")))
        return head + (why if why.startswith("not compared") else f"not compared: {why}")
    area = sum(one.area_m2 for one in outlines)
    return (
        f"{head}{len(outlines)} barer ({area:,.0f} m²), {len(outlines) - len(comparison.shared)} of them not found by "
        f"the network; {len(comparison.alone)} new or grown found by the network alone; "
        f"rise of {found.limit:.2f} or more, {found.joint_share:.1%} compared"
    )


def describe_change(date: "StoredDate", found: "ComparisonResult", *, by_index: bool = False) -> str:
    """One line on what became of the footprints of a date; where nothing was compared, why."""
    parts = [*_count_changes(date, found)]
    if not parts and not found.joint_share:
        why = str(convert_reason(next(iter(found.warnings), "the dates show no ground in common")))
        return why if why.startswith("not compared") else f"not compared: {why}"
    nothing = "no ground that became barer by the index (no network read it)" if by_index else "no footprint"
    limit = "" if found.limit is None else f"rise of {found.limit:.2f} or more, "
    return f"{', '.join(parts) or nothing}; {limit}{found.joint_share:.1%} compared"


def _count_changes(date: "StoredDate", found: "ComparisonResult") -> Iterator[str]:
    for change in WORDS:
        rows = [(one, found.changes[one.polygon_id]) for one in date.outlines]
        rows = [(one, became) for one, became in rows if became.change == change]
        if not rows:
            continue
        total = sum(became.grown_m2 or 0.0 if change == "grown" else one.area_m2 for one, became in rows)
        doubtful = sum(1 for _, became in rows if became.caution) if change in {"new", "grown"} else 0
        advice = f", {doubtful} advice only" if doubtful else ""
        yield f"{len(rows)} {change} ({'+' if change == 'grown' else ''}{total:,.0f} m²{advice})"
    if found.vanished:
        yield f"{len(found.vanished)} vanished ({sum(v.outline.area_m2 for v in found.vanished):,.0f} m²)"
