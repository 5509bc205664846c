"""Results of benchmarks: one JSON file each, with the figures, the command, the day and the machine."""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
DATA: Final = Path(os.environ.get("SLOPEWARD_DATA", ROOT.parent / "shared" / "data"))


@dataclass(frozen=True)
class ResultFolder:
    """A folder of results."""

    path: Path

    def find(self, name: str) -> Path:
        """Return the file of a result, which may not exist yet."""
        return self.path / f"{name}.json"

    def store(self, name: str, command: str, figures: Any, added: str = "") -> Path:
        """Write figures with the command, the day and the machine that they were measured on.

        Args:
            name: of the result; an existing file is replaced.
            command: that measures the same figures again.
            figures: anything that JSON can represent.
            added: the part of `figures` that this run measured. The day and the machine of the other parts stay.
        """
        path = self.find(name)
        result = {
            "command": command,
            "measured_at": datetime.now(UTC).strftime("%Y-%m-%d"),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
            "load_at_end": round(os.getloadavg()[0], 1),
            "figures": figures,
        }
        if added and path.is_file():
            previous = json.loads(path.read_text())
            measured = {key: result[key] for key in ("measured_at", "load_at_end")}
            parts = {**previous.get("added", {}), added: measured}
            result = {**previous, "command": command, "added": parts, "figures": figures}
        self.path.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
        return path

    def load_figures(self, name: str) -> Any:
        """Return the stored figures of a result, or None if there are none."""
        path = self.find(name)
        return json.loads(path.read_text())["figures"] if path.is_file() else None


SERVICE_RESULTS: Final = ResultFolder(ROOT / "docs" / "benchmarks")
LAB_RESULTS: Final = ResultFolder(ROOT / "packages" / "lab" / "benchmarks" / "results")


def parse_options(doc: str | None, **defaults: Any) -> argparse.Namespace:
    """Parse the command line. An option has the type of its default; a default of False makes a flag."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in defaults.items():
        option = f"--{name.replace('_', '-')}"
        if default is False:
            parser.add_argument(option, action="store_true")
        else:
            parser.add_argument(option, type=type(default), default=default)
    return parser.parse_args()


def measure_cpu_s(action: Callable[[], object]) -> float:
    """Return the processor seconds that an action takes."""
    started_s = time.process_time()
    action()
    return time.process_time() - started_s


def compute_once(path: Path, compute: Callable[[], Any]) -> Any:
    """Return the value stored in `path`. Compute and store it first if the file does not exist.

    A run that was interrupted continues with the first value that is not stored.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(compute()))
        part.replace(path)
    return json.loads(path.read_text())
