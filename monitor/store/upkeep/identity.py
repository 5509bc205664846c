"""Which database this is, noted in a file beside it, so that another one in its place is seen."""

import contextlib
import json
import logging
from pathlib import Path
from typing import Final

from detection.whole_file import replacing

FILE: Final = "database.json"  # in `paths.state`
log = logging.getLogger(__name__)


def find_noted(state: Path) -> str:
    """Hash of the first entry of the audit log of the database that was noted; empty where none was."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return str(json.loads((state / FILE).read_text())["first"])
    return ""


def note(state: Path, first: str) -> None:
    """Note a database by that hash; where it cannot be noted, the log says so."""
    try:
        state.mkdir(parents=True, exist_ok=True)
        with replacing(state / FILE, flush=True, mode=0o600) as partial:
            partial.write_text(json.dumps({"first": first}))
    except OSError as error:
        log.warning("which database this is could not be noted in %s: %s", state / FILE, error)
