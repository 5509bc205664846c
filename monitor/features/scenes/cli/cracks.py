"""`slopeward scenes detect --cracks`: cracks of a scene, and what became of them since the scene before."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from detection.imagery.errors import ImageryError, ModelError
from detection.imagery.footprints.records import INDEX, SceneDetection
from monitor.cli.session import print_note
from monitor.text.reasons import describe_error

if TYPE_CHECKING:
    from detection.imagery.change.records import StoredDate


def add_cracks(
    answer: SceneDetection, out_dir: Path, dates: "tuple[StoredDate, StoredDate] | None"
) -> tuple[dict[str, object], str]:
    """Write the cracks of an answer; what JSON says of them, and one line. `dates`: newer and older, of one model.

    Raises ModelError: no network read the scene.
    """
    from detection.imagery.change.cracks import compare_cracks
    from detection.imagery.footprints.cracks import CRACK, outline_cracks, write_cracks

    if answer["model"] == INDEX:
        raise ModelError("--cracks needs weights that find cracks: no network read this scene")
    if CRACK not in answer["classes"]:
        print_note(f"warning: {answer['model']} was not trained on cracks: lines are the middles of its outlines")
    cracks, compared = outline_cracks(answer), None
    if dates is not None:
        try:
            compared = compare_cracks(cracks, *dates)
        except ImageryError as error:
            print_note(f"warning: cracks: {describe_error(error)}")
    rows = [one.to_json() | ({} if compared is None else asdict(compared.changes[one.crack_id])) for one in cracks]
    facts: dict[str, object] = {"cracks": rows, "crack_files": write_cracks(rows, answer, out_dir)}
    length_m = sum(one.length_m or 0.0 for one in cracks)
    line = f"{len(cracks)} cracks" + (f", {length_m:,.1f} m" if answer["pixel_area_m2"] is not None else "")
    if compared is not None:
        change = {key: value for key, value in asdict(compared).items() if key != "changes"}
        facts["crack_change"] = change | {"since_at": compared.since_at.isoformat()}
        counts = Counter(change.change for change in compared.changes.values())
        line += f"; since {compared.since_at:%Y-%m-%d}: " + ", ".join(f"{n} {name}" for name, n in counts.items())
    return facts, line
