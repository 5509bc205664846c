"""What a new site tells in its first epochs where nobody states the noise of its instruments, and when it tells a move.

    python -m tests.bench.service.bench_first_hours

Sites of 24 rovers without `sigma` and `noise_floor` are drawn from seeds: white noise of several sizes, every 5 seconds,
hourly or daily. Nothing moves, or three rovers jump at one epoch and stay there. Counted are "verify now" pages, and how
many epochs after a jump it is asked about. Only the decision runs: no broker, no database.
"""

import random
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from monitor.config.service import parse_site
from monitor.domain.decision import Decision
from monitor.domain.instants import parse
from monitor.domain.observation import Observation
from monitor.domain.site import Site
from tests.bench.record import record
from tests.data.measured import replay

ROVERS = 24
EPOCHS = 60
SEEDS = range(2)
MOVERS = ("G01", "G09", "G17")
BEGIN = parse("2026-03-01T00:00:00Z")
# interval, how it is written, the window of the velocity
PACES = {"5s": (5.0, "1h"), "1h": (3600.0, "1d"), "1d": (86400.0, "7d")}

HEAD = """\
[site]
id = "new"
name = "New site"
latitude = 46.2
longitude = 8.9

[levels]
names = ["green", "yellow", "orange", "red"]

[[criterion]]
kind = "velocity"
stations = ["G*"]
direction = "norm"
yellow = {{over = 10.0, window = "{window}"}}
orange = {{over = 50.0, window = "{window}"}}
red = {{over = 200.0, window = "{window}"}}
"""
STATION = """
[[station]]
id = "{name}"
latitude = 46.2
longitude = 8.9
reference = "B{base}"
[[station.series]]
quantity = "displacement"
unit = "mm"
interval = "{interval}"
{more}
"""


def make_site(pace: str, more: str = "") -> Site:
    """24 rovers on three bases; `more` goes into the table of each series."""
    text = HEAD.format(window=PACES[pace][1])
    for number in range(1, ROVERS + 1):
        text += STATION.format(name=f"G{number:02}", base=(number - 1) // 8, interval=pace, more=more)
    return parse_site(text, "new.toml")


def draw(
    pace: str, noise_mm: float, seed: int, *, jump_mm: float = 0.0, jump_at: int = 0, epochs: int = EPOCHS
) -> Iterator[Observation]:
    """What the rovers say; the movers stand `jump_mm` further east from epoch `jump_at` on."""
    dice = random.Random(f"{pace}{noise_mm}{seed}")
    for epoch in range(epochs):
        at = BEGIN + timedelta(seconds=epoch * PACES[pace][0])
        for number in range(1, ROVERS + 1):
            name = f"G{number:02}"
            moved = jump_mm if name in MOVERS and epoch >= jump_at else 0.0
            for axis, scale in (("east", 1.0), ("north", 1.0), ("up", 2.0)):
                value = dice.gauss(0.0, noise_mm * scale) + (moved if axis == "east" else 0.0)
                yield Observation("new", name, f"displacement_{axis}", "mm", at, at, value, None)


def list_pages(looks: Iterator[tuple[datetime, Decision]]) -> list[tuple[datetime, str]]:
    """When a person is told something new of steps, and of which instrument."""
    return [
        (now, change.key) for now, decision in looks for change in decision.changes
        if change.open and change.notify and change.key.endswith(":verify")
    ]  # fmt: skip


def count_quiet(pace: str, noise_mm: float) -> dict[str, Any]:
    """Pages of sites on which nothing moves."""
    pages = Counter[int]()
    top = 0
    for seed in SEEDS:
        looks = list(replay(make_site(pace), list(draw(pace, noise_mm, seed))))
        top = max(top, *(d.level for _, d in looks))
        pages.update(round((now - BEGIN).total_seconds() / PACES[pace][0]) for now, _ in list_pages(iter(looks)))
    return {
        "pages_per_site": sum(pages.values()) / len(SEEDS), "highest_level": top,
        "of_them_in_the_first_16_epochs": sum(n for epoch, n in pages.items() if epoch < 16) / len(SEEDS),
    }  # fmt: skip


def count_moved(pace: str, noise_mm: float, jump_mm: float, jump_at: int) -> dict[str, Any]:
    """Epochs from a jump to its page, for each of the movers of each site; None = not within the epochs drawn."""
    waited: list[int | None] = []
    for seed in SEEDS:
        looks = replay(make_site(pace), list(draw(pace, noise_mm, seed, jump_mm=jump_mm, jump_at=jump_at)))
        begun = BEGIN + timedelta(seconds=jump_at * PACES[pace][0])
        pages = [(now, key) for now, key in list_pages(looks) if now >= begun]
        for name in MOVERS:
            told = min((now for now, key in pages if key.startswith(f"health:{name}")), default=None)
            waited.append(None if told is None else round((told - begun).total_seconds() / PACES[pace][0]))
    known = sorted(w for w in waited if w is not None)
    return {
        "told": len(known), "of": len(waited), "epochs_median": known[len(known) // 2] if known else None,
        "epochs_most": known[-1] if known else None,
    }  # fmt: skip


def main() -> None:
    """Draw all sites and keep the table."""
    quiet, moved = {}, {}
    for pace in PACES:
        for noise_mm in (0.5, 3.0, 8.0):
            name = f"{pace}, {noise_mm} mm"
            quiet[name] = count_quiet(pace, noise_mm)
            print(name, quiet[name], flush=True)
    for pace, noise_mm, times, jump_at in [
        ("5s", 3.0, 20.0, at) for at in (2, 3, 4, 5, 6, 7, 8, 12, 15, 20, 30)
    ] + [("5s", 3.0, times, 6) for times in (8.0, 12.0, 50.0)] + [("1h", 3.0, 20.0, 6), ("1d", 3.0, 20.0, 6)]:  # fmt: skip
        name = f"{pace}, {noise_mm} mm, {times * noise_mm:g} mm at epoch {jump_at}"
        moved[name] = count_moved(pace, noise_mm, times * noise_mm, jump_at)
        print(name, moved[name], flush=True)
    if "--dry" not in sys.argv:
        print(record("first_hours", "python -m tests.bench.service.bench_first_hours", {"still": quiet, "moved": moved}))


if __name__ == "__main__":
    main()
