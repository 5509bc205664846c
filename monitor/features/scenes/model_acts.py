"""Put a network that was trained for the scenes of a site into use, or retire it."""

from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from detection.imagery.footprints.records import AUTO, INDEX
from detection.imagery.weights_file import find_fault, is_same, may_be_used
from monitor.api.database import SERVICE_ACTOR, Actor, Database
from monitor.api.errors import JobError, NotFoundError, RefusedError
from monitor.api.queries.models import ModelRow, change_state, find_model, load_models, load_transitions
from monitor.api.queries.people import require_reason
from monitor.api.settings import ServiceConfig
from monitor.api.sites import Site
from monitor.api.text import Template
from monitor.api.worker import list_checkpoint_files, run_in_worker
from monitor.features.scenes.tasks import TRY_WEIGHTS, WeightsTrial

NAMED: Final = Template("weights.named", "weights named by the site file")()
UNNAMED: Final = Template("weights.unnamed", "named by the site file no more")()


def promote(c: Connection, site: Site, start: str, actor: Actor, reason: str, now: datetime) -> str:
    """Put a network into use: it is tried on the scenes of its site before the shipped ones. Return a sentence.

    Call `try_weights` before, which finds out whether the network can be run.

    Raises:
        NotFoundError: The site has no such network.
        RefusedError: It is in use already, its test made it a candidate only, the site file names weights, or the
            person may not do this.
    """
    row = _find_own(c, site, start)
    require_reason(c, actor, reason)
    if row.state == "active" and row.reason != NAMED:
        raise RefusedError(f"{row.name} is in use already")
    if site.scenes.weights != AUTO:
        mend = f'write weights = "{AUTO}" there, or {row.path}'
        raise RefusedError(f"the site file of {site.id} names its weights: {mend}")
    if not may_be_used(row.card):
        raise RefusedError(
            f"{row.name} is a candidate: its gate did not find it better than logistic regression; outline in more "
            f"places and learn again, or try it: slopeward scenes detect SCENE --model {row.path}"
        )
    change_state(c, row, "active", reason, actor, now)
    return f"{row.name} is in use from the next scene on, before older ones and the shipped ones"


def try_weights(db: Database, config: ServiceConfig, site: Site, start: str) -> None:
    """Load a network once in a worker, as for a scene (RefusedError: it cannot be run)."""
    row = db.run_read(_find_own, site, start)
    if (fault := find_fault(row.path)) is not None:
        raise RefusedError(f"{row.name} cannot be read: {fault}")
    try:
        found = run_in_worker(
            config.compute, TRY_WEIGHTS, WeightsTrial(row.path), reads=list_checkpoint_files(row.path)
        )
    except JobError as error:
        raise RefusedError(f"{row.name} cannot be tried: {error.message}") from None
    if found.fault:
        raise RefusedError(f"{row.name} {found.fault}")


def retire(c: Connection, site: Site, start: str, actor: Actor, reason: str, now: datetime) -> str:
    """Retire a network, so that it reads no more scenes. Return a sentence."""
    row = _find_own(c, site, start)
    require_reason(c, actor, reason)
    if row.state == "retired":
        raise RefusedError(f"{row.name} is retired already")
    if _is_named(site, row):
        raise RefusedError(f"{row.name} is named by the site file of {site.id}: take it out there first")
    change_state(c, row, "retired", reason, actor, now)
    return f"{row.name} is retired"


def keep_named(c: Connection, site: Site, model_hash: str, now: datetime) -> None:
    """Mark a network of a site as in use after it has read a scene because the site file names it."""
    row = find_model(c, model_hash)
    if row.site == site.id and row.state != "active":
        change_state(c, row, "active", NAMED, SERVICE_ACTOR, now)


def release_named(db: Database, site: Site, now: datetime) -> None:
    """Restore the former state of networks that were in use only because the site file named them."""
    with db.read() as c:
        rows = [r for r in load_models(c, task="scene", site=site.id) if (r.state, r.reason) == ("active", NAMED)]
    if not (gone := [row for row in rows if not _is_named(site, row)]):
        return
    with db.write() as c:
        for row in gone:
            before = load_transitions(c, row.model_hash)[-1].from_state or "candidate"
            change_state(c, row, before, UNNAMED, SERVICE_ACTOR, now)


def _is_named(site: Site, row: ModelRow) -> bool:
    named = site.scenes.weights
    return named not in {AUTO, INDEX} and is_same(named, row.path, row.model_hash)


def _find_own(c: Connection, site: Site, start: str) -> ModelRow:
    row = find_model(c, start)
    if row.task != "scene" or row.site != site.id:
        raise NotFoundError(f"{row.name} is no network learnt for the scenes of {site.id}")
    return row
