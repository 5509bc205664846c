"""Which moment's readings a training that was cut off learnt from, so that the next one goes on in place of anew."""

import contextlib
import shutil
from datetime import datetime, timedelta
from pathlib import Path

from detection.whole_file import replacing
from monitor.domain.instants import parse, spell

LONGEST: timedelta = timedelta(days=1)
"""After a day new readings are worth more than the passes already made."""
_MOMENT = "moment"


def take_up(work: Path, now: datetime) -> datetime:
    """The moment as of which readings are to be learnt: that of the training cut off in this folder, or now."""
    with contextlib.suppress(OSError, ValueError):
        begun = parse((work / _MOMENT).read_text(encoding="utf-8"))
        if now - LONGEST <= begun <= now:
            return begun
    finish(work)
    work.mkdir(parents=True, exist_ok=True)
    with replacing(work / _MOMENT) as partial:
        partial.write_text(spell(now), encoding="utf-8")
    return now


def finish(work: Path) -> None:
    """The training has an answer: nothing is to be taken up."""
    shutil.rmtree(work, ignore_errors=True)
