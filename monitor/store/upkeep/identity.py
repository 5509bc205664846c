"""Which database this is, noted in a file beside it, so that another one in its place is seen."""

import contextlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from forecasting.whole_file import replacing

FILE: Final = "database.json"  # in `paths.state`
KEPT: Final = 20  # databases that are known again
log = logging.getLogger(__name__)


def find_noted(state: Path) -> list[str]:
    """Hashes of the first entries of the audit logs of the databases that were noted, that of the last start first."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        noted = json.loads((state / FILE).read_text())
        return [str(noted["first"]), *map(str, noted.get("before", ()))]
    return []


def note(state: Path, firsts: Sequence[str]) -> None:
    """Note databases by these hashes, that of this start first; where they cannot be noted, the log says so."""
    try:
        state.mkdir(parents=True, exist_ok=True)
        with replacing(state / FILE, flush=True, mode=0o600) as partial:
            partial.write_text(json.dumps({"first": firsts[0], "before": list(firsts[1:KEPT])}))
    except OSError as error:
        log.warning("which database this is could not be noted in %s: %s", state / FILE, error)
