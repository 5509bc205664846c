"""Settings of a network tried on the past of a site: a small grid, here or on a cluster; the gate alone lets one in."""

import itertools
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from forecasting.registry import NETWORKS, PRETRAINED
from forecasting.serving.records import HorizonErrors
from monitor.config.service import ServiceConfig
from monitor.domain.site import Site
from monitor.domain.terms import read_text, read_toml
from monitor.errors import ConfigError, JobError, NotFoundError, RefusedError
from monitor.jobs.forecasts.tasks import SCORE_CELL, TrainingAsked
from monitor.jobs.forecasts.train import plan_training, read_past
from monitor.jobs.worker import run_each_in_worker
from monitor.store.database.engine import Database

MOST_CELLS: Final = 48  # beside the settings in use: each is a training
# what a grid may try: whether it is a whole number, least, most
KEYS: Final[Mapping[str, tuple[bool, float, float]]] = {
    "hidden": (True, 4, 256), "dropout": (False, 0.0, 0.9), "learning_rate": (False, 1e-5, 0.1),
    "weight_decay": (False, 0.0, 0.1), "batch": (True, 1, 1024), "epochs": (True, 1, 200), "patience": (True, 1, 50),
    "stride": (True, 1, 100),
}  # fmt: skip
Settings = dict[str, float]
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Grid:
    """A network and the settings to try; the first ones, without any word, are those in use."""

    model: str
    cells: tuple[Settings, ...]


@dataclass(frozen=True, slots=True)
class Scored:
    """Cells of a grid that were trained, the settings in use first, and why the others could not be, or failed."""

    cells: tuple[Settings, ...]
    errors: tuple[tuple[HorizonErrors, ...], ...]
    refused: tuple[tuple[Settings, str], ...]


def read_grid(path: Path) -> Grid:
    """Read a grid: `model`, and in `[grid]` a list of values for each setting.

    Raises:
        ConfigError: It cannot be read, names what a grid does not try, or holds too many cells.
    """
    content = read_toml(read_text(path), str(path))
    if unknown := sorted(set(content) - {"model", "grid"}):
        raise ConfigError(f"{path}: {unknown[0]}: unknown; expected model and [grid]")
    model, lists = content.get("model"), content.get("grid")
    able = sorted(set(NETWORKS) - set(PRETRAINED))
    if model not in able:
        raise ConfigError(f"{path}: model: expected one of {', '.join(able)}, got {model!r}")
    if not isinstance(lists, dict) or not lists:
        raise ConfigError(f"{path}: [grid]: expected a list of values for one or more of {', '.join(KEYS)}")
    count = 1
    for name, values in lists.items():
        _check(path, name, values)
        count *= len(values)
    if count > MOST_CELLS:
        raise ConfigError(f"{path}: {count} settings, each a training; at most {MOST_CELLS} are tried at once")
    cells = (dict(zip(lists, one, strict=True)) for one in itertools.product(*lists.values()))
    return Grid(model, ({}, *cells))


def _check(path: Path, name: str, values: Any) -> None:
    if name not in KEYS:
        raise ConfigError(f"{path}: grid.{name}: unknown; a grid tries {', '.join(KEYS)}")
    whole, least, most = KEYS[name]
    if not isinstance(values, list) or not values or any(one in values[:k] for k, one in enumerate(values)):
        raise ConfigError(f"{path}: grid.{name}: expected a list of different values, got {values!r}")
    for value in values:
        is_number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        if not is_number or not least <= value <= most:
            kind = "whole numbers" if whole else "numbers"
            raise ConfigError(f"{path}: grid.{name}: expected {kind} from {least:g} to {most:g}, got {value!r}")


def score_grid(
    db: Database, config: ServiceConfig, site: Site, grid: Grid, now: datetime, seed: int, tell: Tell
) -> Scored:  # fmt: skip
    """Train every cell on the past of a site and score it; nothing is kept.

    Args:
        db: the database.
        config: where jobs run.
        site: the site.
        grid: what is tried.
        now: what was known then is read.
        seed: of the first weights of each.
        tell: one line for each cell that is done.

    Raises:
        RefusedError: networks of the site begin with weights of another one, which have settings of their own.
        NotFoundError: it has no readings; or the settings in use cannot be trained, for the reason that is said.
    """
    if site.forecast.start_from:
        raise RefusedError(
            f"networks of {site.id} begin with those of {site.forecast.start_from} (forecast.start_from); "
            "a grid tries networks that begin anew"
        )
    record = db.ask(read_past, site, grid.model, now)
    if record is None:
        raise NotFoundError(f"{site.id} has no readings of displacement to learn from")
    plan = plan_training(config, site, grid.model, seed, Path())
    asked = [TrainingAsked(record, replace(plan, settings=cell)) for cell in grid.cells]
    cells, errors, refused = [], [], []
    answers = run_each_in_worker(config.compute, SCORE_CELL, asked)
    with closing(answers):
        for number, (cell, answer) in enumerate(zip(grid.cells, answers, strict=True), start=1):
            why = str(answer) if isinstance(answer, JobError) else answer.refused
            tell(f"{number} of {len(asked)}: {spell_settings(cell)}{f': {why}' if why else ''}")
            if why and not cell:
                raise NotFoundError(f"{grid.model} with the settings in use: {why}")
            if isinstance(answer, JobError) or why:
                refused.append((cell, why))
            else:
                cells.append(cell)
                errors.append(answer.horizons)
    return Scored(tuple(cells), tuple(errors), tuple(refused))


def spell_settings(cell: Mapping[str, float]) -> str:
    """Settings as people read them.

    >>> spell_settings({"hidden": 64, "learning_rate": 0.001}), spell_settings({})
    ('hidden 64, learning_rate 0.001', 'in use')
    """
    return ", ".join(f"{name} {value:g}" for name, value in cell.items()) or "in use"
