"""`slopeward scenes detect --pre`: the scene before, what changed since, and one line that says it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from monitor.cli.session import say
from monitor.domain.instants import FUTURE_TOLERANCE

ALONE = "one date only"  # said of each scene by itself
WORDS = ("new", "grown", "known", "single")


def check_past(scenes: Iterable[Path], now: datetime) -> None:
    """Refuse a scene that says it was taken in the future, as the watched folder does: its date is wrong.

    Raises:
        SceneError: one is.
        ImageryError: one of them cannot be read.
    """
    from detection.imagery.errors import SceneError
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
    from detection.imagery.errors import SceneError
    from detection.imagery.scene.scene import read_scene

    taken, before = read_scene(scene).acquired_at, read_scene(pre).acquired_at
    if before >= taken:
        raise SceneError(f"{pre}: taken {before:%Y-%m-%d %H:%M}, not before {scene} ({taken:%Y-%m-%d %H:%M})")


def not_alone(warnings: Iterable[str]) -> list[str]:
    """Warnings of one of several dates: that it is one date only is not so."""
    return [warning for warning in warnings if not warning.startswith(ALONE)]


def detect_before(
    payload: Mapping[str, Any], pre: Path, progress: Callable[[str, float], None]
) -> dict[str, Any] | None:
    """Find footprints on the scene before with the same weights and limits; None where none of its pixels is valid."""
    from detection.imagery.errors import NoValidPixelsError
    from detection.imagery.footprints.detect import detect

    folder = str(Path(payload["out_dir"]) / "pre")
    try:
        found = detect({**payload, "scene_path": str(pre), "out_dir": folder, "aoi": None, "known": None}, progress)
    except NoValidPixelsError as error:
        say(f"nothing to compare with: {error}")
        return None
    for warning in not_alone(found["warnings"]):
        say(f"warning: {pre.name}: {warning}")
    return found


def compare_with(
    answer: dict[str, Any], earlier: dict[str, Any], payload: Mapping[str, Any], pre: Path
) -> dict[str, Any]:
    """Say what changed since the scene before; writes `change.tif`, `change.geojson` and `change.png`."""
    from detection.imagery.change.compare import as_date, compare

    dem = payload.get("dem")
    own = as_date(answer, payload["scene_path"]) | ({"dem": dem} if dem else {})
    change = compare(own, [as_date(earlier, pre)], Path(payload["out_dir"]))
    for warning in change["warnings"]:
        say(f"warning: {warning}")
    return change


def spell_change(
    polygons: Sequence[Mapping[str, Any]], vanished: Sequence[Mapping[str, Any]], joint_share: float
) -> str:
    """One line on footprints that carry their word (`change`, `grown_m2`, `caution`).

    >>> new = {"change": "new", "area_m2": 1200.0, "caution": None}
    >>> spell_change([new], [{"area_m2": 900.0}], 0.595)
    '1 new (1,200 m²), 1 vanished (900 m²); 59.5% compared'
    """
    parts = []
    for word in WORDS:
        rows = [p for p in polygons if p["change"] == word]
        if not rows:
            continue
        total = sum(p["grown_m2" if word == "grown" else "area_m2"] for p in rows)
        doubtful = sum(1 for p in rows if p.get("caution")) if word in {"new", "grown"} else 0
        advice = f", {doubtful} advice only" if doubtful else ""
        parts.append(f"{len(rows)} {word} ({'+' if word == 'grown' else ''}{total:,.0f} m²{advice})")
    if vanished:
        parts.append(f"{len(vanished)} vanished ({sum(v['area_m2'] for v in vanished):,.0f} m²)")
    return f"{', '.join(parts) or 'no footprint'}; {joint_share:.1%} compared"
