"""A test that a criterion which rests on a model has passed, as the service keeps it."""

from datetime import datetime

from monitor.criteria.proofs import OUTLINES, needs_proof
from monitor.domain.alert import Actor
from monitor.domain.site import Site
from monitor.store.database.engine import Database
from monitor.store.models.proofs import Proof, add_proof, weights_in_use

LATER = datetime.fromisoformat("2100-01-01T00:00:00+00:00")


def prove_outlines(database: Database, site: Site, at: datetime) -> None:
    """Let the weights whose outlines are stored have passed their test at an instant."""
    (criterion,) = [one for one in needs_proof(site) if one.kind.facts == "footprints"]
    with database.write() as c:
        weights = weights_in_use(c, site, criterion, OUTLINES, LATER) or ""
        passed = Proof("scene", OUTLINES, "slopeward scenes score", weights, (), {"f1": 0.9}, 40)
        add_proof(c, site, criterion, passed, Actor("ada"), at)
