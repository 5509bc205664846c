"""Where the figures of a benchmark are kept: docs/benchmarks/NAME.json, written by the command that measured them."""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("SLOPEWARD_DATA", ROOT.parent / "shared" / "data"))
FOLDER = ROOT / "docs" / "benchmarks"


def record(name: str, command: str, figures: Any, added: str = "") -> Path:
    """Write figures with the command, the day and the machine they were measured on."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.json"
    facts = {
        "command": command,
        "measured_at": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "load_at_end": round(os.getloadavg()[0], 1),
        "figures": figures,
    }
    if added and path.is_file():
        kept = json.loads(path.read_text())
        beside = {**kept.get("added", {}), added: {key: facts[key] for key in ("measured_at", "load_at_end")}}
        facts = {**kept, "command": command, "added": beside, "figures": figures}
    path.write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
    return path


def read_options(doc: str | None, **defaults: Any) -> argparse.Namespace:
    """What the command line says: a flag where the default is False, else an option of the type of its default."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in defaults.items():
        how = {"action": "store_true"} if default is False else {"type": type(default), "default": default}
        parser.add_argument(f"--{name.replace('_', '-')}", **how)
    return parser.parse_args()


def spend(act: Callable[[], object]) -> float:
    """Processor seconds of an act."""
    begun = time.process_time()
    act()
    return time.process_time() - begun


def keep(path: Path, make: Callable[[], Any], *, fresh: bool = False) -> Any:
    """What a job left in `path`, made where it is not there, or anew: a run that was killed goes on where it was."""
    if fresh or not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".part")
        beside.write_text(json.dumps(make()))
        beside.replace(path)
    return json.loads(path.read_text())


def read_figures(name: str) -> Any:
    """The figures that were recorded last; None where there are none."""
    path = FOLDER / f"{name}.json"
    return json.loads(path.read_text())["figures"] if path.is_file() else None
