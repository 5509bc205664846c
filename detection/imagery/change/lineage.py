"""Lines of landslides over the versions of one scene: an outline found again keeps the name of its first footprint."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from shapely.geometry import shape as shape_of

from detection.imagery.change.records import FootprintChange, KnownOutline

# An outline of a scene delivered again is that of the version before where they share so much of the smaller one.
SAME_SHARE = 0.5


def keep_lines(
    outlines: Iterable[KnownOutline], changes: Mapping[str, FootprintChange], before: Iterable[KnownOutline]
) -> dict[str, FootprintChange]:
    """What was judged, where outlines without a parent take the root of the outline that they replace.

    Args:
        outlines: footprints of the version that counts now.
        changes: what was judged of them, by polygon_id.
        before: footprints of the versions that are withdrawn.

    >>> from datetime import UTC, datetime
    >>> square = {"type": "Polygon", "coordinates": [[[0, 0], [2, 0], [2, 2], [0, 2], [0, 0]]]}
    >>> old = KnownOutline("o", "landslide", square, (0, 0, 2, 2), 900.0, 0.8, root_id="r")
    >>> own = KnownOutline("n", "landslide", square, (0, 0, 2, 2), 900.0, 0.8)
    >>> word = FootprintChange("single", None, None, None, "n", datetime(2026, 5, 12, tzinfo=UTC), "s", None)
    >>> keep_lines([own], {"n": word}, [old])["n"].root_id
    'r'
    """
    known = [(shape_of({**one.geometry}), one) for one in before if not one.is_gone]
    found = dict(changes)
    for own in outlines:
        change = changes[own.polygon_id]
        if change.parent_id is not None or not known:
            continue
        outline = shape_of({**own.geometry})
        shared = [
            (outline.intersection(other).area / min(outline.area, other.area), one.polygon_id, one)
            for other, one in known
            if other.area and outline.area and one.kind == own.kind
        ]
        if not shared:
            continue
        share, _, one = max(shared, key=lambda item: item[:2])
        if share >= SAME_SHARE:
            root, first = one.root_id or one.polygon_id, one.first_seen_at or change.first_seen_at
            found[own.polygon_id] = replace(change, root_id=root, first_seen_at=first)
    return found
