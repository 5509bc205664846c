"""What a forecast was up against when it was issued: one word by which its scores are kept apart."""

from typing import Final

SITUATIONS: Final = ("critical", "accelerating", "after a step", "after rain", "steady", "creep")


def name_situation(stage: str | None, *, critical: bool, wet: bool) -> str | None:
    """The word: the first of `SITUATIONS` that fits.

    Args:
        stage: How the station moved: creep, intermediate, progressive, step, unknown; None where nobody looked.

    >>> name_situation("progressive", critical=True, wet=True), name_situation("creep", critical=False, wet=True)
    ('critical', 'after rain')
    """
    if critical:
        return "critical"
    if stage in {"progressive", "step"}:
        return "accelerating" if stage == "progressive" else "after a step"
    if wet:
        return "after rain"
    return {"intermediate": "steady", "creep": "creep"}.get(stage or "")
