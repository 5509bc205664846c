"""What the trainings of networks and detectors have in common: orders, outcomes and checkpoints."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from sqlalchemy import Connection

from monitor.models.queries.registry import add_model
from monitor.models.records import TrainingResult
from monitor.settings.service import ServiceConfig
from monitor.sites.records import Site
from monitor.storage.actor import SERVICE_ACTOR, Actor

SEED: Final = 7
MAXIMUM_AGE: Final = timedelta(days=7)  # a checkpoint that is older is trained again


class TrainingOutcome(NamedTuple):
    """Result of a training."""

    line: str  # the hash of the checkpoint, or the reason why nothing was trained
    trained: bool = False
    results: tuple[TrainingResult, ...] = ()  # the checkpoints of a network, one per interval of its series
    refusals: tuple[str, ...] = ()  # why series of other intervals have none


@dataclass(frozen=True, slots=True)
class TrainingOrder:
    """A network or detector to train, with who ordered it and why."""

    kind: str
    seed: int = SEED
    reason: str = "asked for"
    actor: Actor = SERVICE_ACTOR
    settings: Mapping[str, float] = field(default_factory=dict)  # of a network, other than the usual ones


def make_folder(config: ServiceConfig, site: Site) -> Path:
    """Return the folder of the checkpoints of a site. Create it if it does not exist."""
    folder = Path(config.paths.models) / site.id
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def keep_checkpoint(
    connection: Connection,
    site: Site,
    task: str,
    kind: str,
    result: TrainingResult,
    now: datetime,
    reason: str,
    actor: Actor = SERVICE_ACTOR,
) -> bool:
    """Register a checkpoint. Return False if the same checkpoint is registered already."""
    return add_model(
        connection,
        result.model_hash,
        kind=kind,
        task=task,
        site=site.id,
        path=result.path,
        card=result.card,
        now=now,
        reason=reason,
        actor=actor,
    )
