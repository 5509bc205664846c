"""Networks that a run walks through every law: a third of them, another one each day; all of them in `make soak`."""

import os
from collections.abc import Iterable
from datetime import date

SOAK = bool(os.environ.get("SLOPEWARD_SOAK"))
# the first process of a run decides, and its workers inherit it: no midnight parts them
THIRD = os.environ.setdefault("SLOPEWARD_THIRD", "all" if SOAK else str(date.today().toordinal() % 3))


def of_this_run(names: Iterable[str]) -> list[str]:
    """Those of the third, in order; SLOPEWARD_THIRD (0, 1, 2, all) names it."""
    ordered = sorted(names)
    return ordered if THIRD == "all" else ordered[int(THIRD) :: 3]
