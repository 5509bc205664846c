"""What a person may do with what was found and drawn on scenes: confirm or dismiss a footprint, withdraw an outline."""

from typing import Annotated, Final

from forecasting.message import Template, Term
from monitor.alerting.acts.call import ActCall
from monitor.alerting.acts.on_alerts import LARGEST_ID
from monitor.alerting.acts.on_sites import SiteId, SiteOption
from monitor.alerting.acts.table import ActResult, Argument
from monitor.domain.instants import record_to_json
from monitor.domain.language.catalogue import N_
from monitor.store.scenes.outlines import withdraw_outline as take_outline_back
from monitor.store.scenes.reviews import add_review

_JUDGED: Final = Template("act.footprint", "footprint {name} on {scene}: {verdict}")
_WITHDRAWN: Final = Template("outline.taken_back", "outline {number} is withdrawn")
SHOWN: Final = 12  # signs of the id of a footprint
PolygonId = Annotated[str, Argument("Id of the footprint, or its beginning", metavar="POLYGON", longest=64)]
SceneHash = Annotated[str | None, Argument("Its scene; else any of the site", "--scene", longest=64)]
Note = Annotated[str, Argument(N_("Why"), "--note")]


def accept(
    call: ActCall, polygon_id: PolygonId, site: SiteOption, note: Note = "", scene_hash: SceneHash = None
) -> ActResult:
    """Say that a footprint is a landslide, outlined as it is.

    Example: slopeward scenes review accept 3fa1b2 --site north-bench
    """
    return _review(call, site, polygon_id, "accept", note, scene_hash)


def reject(
    call: ActCall, polygon_id: PolygonId, site: SiteOption, note: Note = "", scene_hash: SceneHash = None
) -> ActResult:
    """Say that a footprint is no landslide; what an alert saw stays in its evidence.

    Example: slopeward scenes review reject 3fa1b2 --site north-bench --note "a road"
    """
    return _review(call, site, polygon_id, "reject", note, scene_hash)


def _review(call: ActCall, site: str, polygon_id: str, verdict: str, note: str, scene_hash: str | None) -> ActResult:
    with call.write() as c:
        call.check_site(c, site)
        one = add_review(c, site, polygon_id, verdict, call.actor, call.now, note=note or None, scene_hash=scene_hash)
    text = _JUDGED(name=one.polygon_id[:SHOWN], scene=one.scene, verdict=Term(verdict))
    return ActResult(text, record_to_json(one, "path"))


def withdraw_outline(
    call: ActCall,
    site: SiteId,
    number: Annotated[int, Argument("Number of the outline", metavar="ID", least=1, most=LARGEST_ID)],
) -> ActResult:
    """Take an outline back that somebody drew on a scene; it stays on record.

    Example: slopeward scenes review withdraw north-bench 7
    """
    with call.write() as c:
        scene_hash = take_outline_back(c, site, number, call.actor, call.now)
    return ActResult(_WITHDRAWN(number=number), {"site": site, "outline": number, "scene_hash": scene_hash})
