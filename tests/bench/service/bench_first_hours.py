"""What a new site tells in its first epochs where nobody states the noise of its instruments, and when it tells a move.

    python -m tests.bench.service.bench_first_hours

Sites of 24 rovers without `sigma` and `noise_floor` are drawn from seeds: white noise of several sizes, every 5
seconds, hourly or daily. Nothing moves, or three rovers jump at one epoch and stay there, or they speed up from the
first epoch on. Only the decision runs. Counted
are pages, the highest level, and how many epochs after a jump it is asked about. `chance` says how often white noise
alone stands out.
"""

import random
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from monitor.decision.series.noise import stands_out
from monitor.domain.decision import Decision
from tests.bench.record import record
from tests.data.measured import replay
from tests.data.sites.new_site import BEGIN, MOVERS, PACES, Motion, draw, jump, make_site, stand

EPOCHS = 48
SEEDS = range(2, 5)
Looks = list[tuple[datetime, Decision]]


def play(pace: str, noise_mm: float, seed: int, *, motion: Motion = stand, epochs: int = EPOCHS) -> Looks:
    """Every look at such a site."""
    rows = list(draw(pace, noise_mm, seed, epochs=epochs, motion=motion))
    return list(replay(make_site(pace), rows))


def list_pages(looks: Looks) -> Iterator[tuple[datetime, str]]:
    """When a person is told something new, and under which key."""
    for now, decision in looks:
        yield from ((now, change.key) for change in decision.changes if change.open and change.notify)


def count_epochs(now: datetime, pace: str) -> int:
    """Epochs since the site began."""
    return round((now - BEGIN).total_seconds() / PACES[pace][0])


def count_quiet(pace: str, noise_mm: float) -> dict[str, Any]:
    """Pages of sites on which nothing moves: in the first 24 epochs, and in as many after them."""
    first, later, top = 0, 0, 0
    for seed in SEEDS:
        looks = play(pace, noise_mm, seed)
        top = max(top, *(d.level for _, d in looks))
        epochs = [count_epochs(now, pace) for now, _ in list_pages(looks)]
        first, later = first + sum(e < 24 for e in epochs), later + sum(e >= 24 for e in epochs)
    return {"pages_of_24_epochs": first / len(SEEDS), "and_of_24_more": later / len(SEEDS), "highest_level": top}


def count_jumped(pace: str, noise_mm: float, size_mm: float, at: int) -> dict[str, Any]:
    """Epochs from a jump to its page, of each mover of each site."""
    waited: list[int] = []
    for seed in SEEDS:
        pages = list(list_pages(play(pace, noise_mm, seed, motion=jump(size_mm, at))))
        for name in MOVERS:
            mine = [count_epochs(now, pace) - at for now, key in pages if key == f"health:{name}:verify"]
            waited += [e for e in mine if e >= 0][:1]
    waited.sort()
    return {
        "told": len(waited),
        "of": len(MOVERS) * len(SEEDS),
        "epochs_median": waited[len(waited) // 2] if waited else None,
        "epochs_most": waited[-1] if waited else None,
    }


def count_accelerated() -> dict[str, Any]:
    """Seconds until each hazard level of a slope that speeds up from its first epoch: 20 mm in the first 10 minutes."""
    looks = play("5s", 3.0, 0, motion=lambda e: 20.0 * (e / 120.0) ** 2, epochs=180)
    return {
        f"level_{level}_after_s": next((5 * count_epochs(now, "5s") for now, d in looks if d.level >= level), None)
        for level in (1, 2, 3)
    }


def count_chance(axes: tuple[float, ...], series: int = 4_000) -> float:
    """The share of series of white noise of which some jump of their first 24 epochs stands out."""
    dice, found = random.Random(f"chance{axes}"), 0
    for _ in range(series):
        values = [tuple(dice.gauss(0.0, scale) for scale in axes) for _ in range(24)]
        found += any(
            stands_out(values[:count], i, sum((b - a) ** 2 for a, b in zip(*values[i - 1 : i + 1], strict=True)) ** 0.5)
            for count in range(5, 24)
            for i in range(1, count)
        )
    return found / series


def main() -> None:
    """Draw all sites and keep the table."""
    figures: dict[str, Any] = {
        "chance": {"scalar": count_chance((1.0,)), "three components": count_chance((1.0, 1.0, 2.0))},
        "speeds_up": count_accelerated(),
    }
    print(figures, flush=True)
    for pace in PACES:
        for noise_mm in (0.5, 3.0, 8.0):
            figures[f"{pace}, {noise_mm} mm, nothing moves"] = count_quiet(pace, noise_mm)
            print(*list(figures.items())[-1], flush=True)
    for pace, times, at in (
        *(("5s", 20.0, at) for at in (2, 4, 6, 12, 30)),
        *(("5s", times, 6) for times in (8.0, 50.0)),
        ("1h", 20.0, 6),
        ("1d", 20.0, 6),
    ):
        figures[f"{pace}, 3.0 mm, jump of {3.0 * times:g} mm at epoch {at}"] = count_jumped(pace, 3.0, 3.0 * times, at)
        print(*list(figures.items())[-1], flush=True)
    print(record("first_hours", "python -m tests.bench.service.bench_first_hours", figures))


if __name__ == "__main__":
    main()
