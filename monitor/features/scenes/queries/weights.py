"""The networks that read the scenes of a site: those in use, those that cannot be loaded, those without a test."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, Text, select, type_coerce

from detection.imagery.footprints.records import AUTO, INDEX, RADAR
from detection.imagery.weights_file import find_fault
from monitor.api.errors import NotFoundError
from monitor.api.queries.models import ModelRow, find_model, load_models
from monitor.api.sites import Site
from monitor.api.tables import model_proof
from monitor.api.text import plain_to_messages
from monitor.features.scenes.tables import scene, scene_footprint
from monitor.features.scenes.views import MarkedFootprint

# Key of the JSON in column `run` of a scene: why each network of the site that was tried cannot be run, or null.
BROKEN: Final = "broken"
METHODS_WITHOUT_NETWORK: Final = (INDEX, RADAR)  # methods without weights


def load_own_weights(c: Connection, site: str) -> list[str]:
    """Return the paths of weights that were trained for a site and are in use there, the newest first."""
    return [row.path for row in _load_own_models(c, site)]


def find_broken_weights(c: Connection, site: Site) -> list[tuple[ModelRow, str]]:
    """Return the weights that were trained for a site, are in use and cannot be read, each with the reason.

    A file that cannot be read is a reason. Whether a network fits its card is only known after it was run, so this
    reason is taken from the newest scene on which the network was tried.
    """
    s = scene.c

    def find_run_fault(model_hash: str) -> str | None:
        """Return why weights could not be run on the newest scene on which they were tried. None if they could."""
        # These weights may not have been tried on the newest scenes: radar needs none, and other weights may fit first.
        was_run = type_coerce(s.run, Text).like(f'%"{BROKEN}":{{%"{model_hash}":%')  # canonical JSON, so no blanks
        newest = select(s.run).where(s.site == site.id, s.state == "done", was_run).order_by(s.received_at.desc())
        run = c.execute(newest.limit(1)).scalar()
        return None if run is None else plain_to_messages(run.get(BROKEN) or {}).get(model_hash)

    models = _load_own_models(c, site.id) if site.scenes.weights == AUTO else []
    faults = [(model, find_fault(model.path, find_run_fault)) for model in models]
    return [(model, fault) for model, fault in faults if fault is not None]


def _load_own_models(c: Connection, site: str) -> list[ModelRow]:
    return [row for row in load_models(c, task="scene", site=site) if row.state == "active"]


def find_newest(c: Connection, site: str, now: datetime) -> str | None:
    """Return the hash of the network with the newest footprint of a site, as known at `now`. None if there is none."""
    g = scene_footprint.c
    return c.execute(
        select(g.model_hash)
        .join(scene, scene.c.scene_hash == g.scene_hash)
        .where(scene.c.site == site, g.detected_at <= now, g.model.not_in(METHODS_WITHOUT_NETWORK))
        .order_by(g.detected_at.desc(), g.model_hash)
        .limit(1)
    ).scalar()


def list_in_use(c: Connection, site: str, since: datetime, now: datetime) -> list[str]:
    """Return the hashes of networks with footprints on images taken after `since`, as known at `now`.

    If there are none, return that of the network with the newest footprint.
    """
    g, s = scene_footprint.c, scene.c
    taken = (s.scene_hash == g.scene_hash, s.site == site, s.acquired_at > since, s.acquired_at <= now)
    query = select(g.model_hash).where(*taken, g.detected_at <= now, g.model.not_in(METHODS_WITHOUT_NETWORK))
    model_hashes = list(c.execute(query.distinct().order_by(g.model_hash)).scalars())
    if model_hashes:
        return model_hashes
    newest = find_newest(c, site, now)
    return [] if newest is None else [newest]


def find_weights(c: Connection, site: Site, now: datetime) -> str:
    """Return the name or path of the weights of a site: those of the site file, else those of its newest footprint.

    Raises:
        NotFoundError: The site file names none, and no network has found a footprint yet.
    """
    if site.scenes.weights not in {AUTO, INDEX}:
        return site.scenes.weights
    if (newest := find_newest(c, site.id, now)) is None:
        raise NotFoundError(f"{site.id}: weights are chosen scene by scene, and none has found anything yet: name them")
    return find_model(c, newest).path


def mark_unproven(c: Connection, site: str, footprints: Iterable[MarkedFootprint], now: datetime) -> None:
    """Set `unproven` of footprints: whether their network has not passed a test, while another one of the site has.

    Unproven footprints are advice only.
    """
    p = model_proof.c
    query = select(p.weights, p.passed, p.valid_until).where(p.site == site, p.kind == "scene", p.tested_at <= now)
    rows = c.execute(query.order_by(p.tested_at, p.id))
    # Of several tests of the same weights the newest one counts.
    is_proven = {row.weights: bool(row.passed) and row.valid_until > now for row in rows}
    proven = {weights for weights, has_passed in is_proven.items() if has_passed}
    for footprint in footprints:
        is_by_network = footprint["method"] == "network"
        footprint["unproven"] = bool(proven) and is_by_network and footprint["model_hash"] not in proven
