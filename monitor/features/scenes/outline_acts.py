"""Acts of people on scenes: confirm, dismiss or redraw a footprint, draw and withdraw outlines."""

from typing import Annotated, Final

from monitor.api.acts import ActResult, Argument
from monitor.api.alerts import make_act_factory
from monitor.api.errors import RefusedError
from monitor.api.queries.alerts import LARGEST_ID, ActCall, SiteId
from monitor.api.text import N_, Template, Term, record_to_json
from monitor.features.scenes.outline_files import read_collection, read_geometry
from monitor.features.scenes.queries import outlines as store

_JUDGED: Final = Template("act.footprint", "footprint {name} on {scene}: {verdict}")
_WITHDRAWN: Final = Template("outline.taken_back", "outline {number} is withdrawn")
_ONE: Final = Template("outline.one", "one outline is kept at a time")
_STORED: Final = Template("outline.stored", "the outline is stored")
_ODD: Final = Template("outline.odd", "outline {number} of the file: {text}; none is stored")
_SEVERAL: Final = Template("outline.several_stored", "{count} outlines are stored")
LARGEST_FILE: Final = 500 * 1024
SHOWN: Final = 12  # signs of the id of a footprint
PolygonId = Annotated[str, Argument("Id of the footprint, or its beginning", metavar="POLYGON", longest=64)]
SceneHash = Annotated[str | None, Argument("Its scene; else any of the site", "--scene", longest=64)]
Note = Annotated[str, Argument(N_("Why"), "--note")]
_FILE: Final = N_("GeoJSON file in longitude and latitude")


def accept(
    call: ActCall, site: SiteId, polygon_id: PolygonId, note: Note = "", scene_hash: SceneHash = None
) -> ActResult:
    """Confirm that a footprint is a landslide with this outline.

    Example: slopeward scenes review accept north-bench 3fa1b2
    """
    return _review(call, site, polygon_id, "accept", note, scene_hash)


def reject(
    call: ActCall, site: SiteId, polygon_id: PolygonId, note: Note = "", scene_hash: SceneHash = None
) -> ActResult:
    """Reject a footprint that is not a landslide. The evidence of past alerts does not change.

    Example: slopeward scenes review reject north-bench 3fa1b2 --note "a road"
    """
    return _review(call, site, polygon_id, "reject", note, scene_hash)


def redraw(
    call: ActCall,
    site: SiteId,
    polygon_id: PolygonId,
    outline: Annotated[str, Argument(_FILE, "--outline", longest=LARGEST_FILE, is_file=True)],
    note: Note = "",
    scene_hash: SceneHash = None,
) -> ActResult:
    """Confirm that a footprint is a landslide, with a corrected outline.

    Example: slopeward scenes review redraw north-bench 3fa1b2 --outline a.geojson
    """
    return _review(call, site, polygon_id, "redraw", note, scene_hash, outline)


def _review(
    call: ActCall,
    site: str,
    polygon_id: str,
    verdict: str,
    note: str,
    scene_hash: str | None,
    outline: str | None = None,
) -> ActResult:
    geometry = None if outline is None else read_geometry(outline)
    with call.write() as c:
        call.check_site(c, site)
        one = store.add_review(
            c,
            site,
            polygon_id,
            verdict,
            call.actor,
            call.now,
            note=note or None,
            geometry=geometry,
            scene_hash=scene_hash,
        )
    text = _JUDGED(name=one.polygon_id[:SHOWN], scene=one.scene, verdict=Term(verdict))
    return ActResult(text, record_to_json(one, "path"))


def draw(
    call: ActCall,
    site: SiteId,
    scene_hash: Annotated[str, Argument("Its scene", metavar="SCENE", longest=64)],
    geometry: Annotated[str, Argument(_FILE, metavar="FILE", longest=LARGEST_FILE, is_file=True)],
    kind: Annotated[
        str,
        Argument(
            N_("What the outlines are, where the file has no property kind"), "--kind", longest=40, choices=store.KINDS
        ),
    ] = "",
    note: Annotated[str, Argument(N_("Note"), "--note", longest=store.LONGEST_NOTE, is_text=True)] = "",
    from_polygon: Annotated[
        str | None, Argument("The footprint that it corrects", "--from-polygon", longest=64)
    ] = None,
    instead_of: Annotated[
        int | None,
        Argument("The outline that it corrects: that one is withdrawn", "--instead-of", least=1, most=LARGEST_ID),
    ] = None,
) -> ActResult:
    """Store outlines that you drew on a scene, for the training of a network. If one is invalid, none is stored.

    Example: slopeward scenes review draw north-bench 3fa1b2c4 slides.geojson --kind landslide
    """
    bounds = call.db.run_read(store.find_bounds, site, scene_hash)
    brought, drawn = read_collection(geometry, kind), []
    if len(brought) > 1 and (from_polygon or instead_of):
        raise RefusedError(_ONE())
    for number, (own, polygon, own_note) in enumerate(brought, 1):
        try:
            drawn.append(store.read_outline(own, polygon, bounds, own_note or note))
        except RefusedError as error:
            raise error if len(brought) == 1 else RefusedError(_ODD(number=number, text=error.message)) from None
    with call.write() as c:
        numbers = store.add_outlines(
            c, site, scene_hash, drawn, call.actor, call.now, from_polygon=from_polygon or None, instead_of=instead_of
        )
    text = _STORED() if len(numbers) == 1 else _SEVERAL(count=len(numbers))
    return ActResult(text, {"site": site, "scene_hash": scene_hash, "outline": numbers[0], "outlines": numbers})


def withdraw_outline(
    call: ActCall,
    site: SiteId,
    number: Annotated[int, Argument("Number of the outline", metavar="ID", least=1, most=LARGEST_ID)],
) -> ActResult:
    """Withdraw an outline that somebody drew on a scene; it stays on record.

    Example: slopeward scenes review withdraw north-bench 7
    """
    with call.write() as c:
        scene_hash = store.withdraw_outline(c, site, number, call.actor, call.now)
    return ActResult(_WITHDRAWN(number=number), {"site": site, "outline": number, "scene_hash": scene_hash})


_SCENE: Final = "/sites/{site}/scenes/{scene_hash}"
_footprint = make_act_factory(f"{_SCENE}/footprints/{{polygon_id}}", "scenes review", f"{_SCENE}/outlines")
_drawing = make_act_factory(f"{_SCENE}/outlines", "scenes review")
_outline = make_act_factory("/sites/{site}/outlines", "scenes review")
ACTS: Final = (
    _footprint("footprint.accept", "accept", "/accept", lambda: accept),
    _footprint("footprint.reject", "reject", "/reject", lambda: reject),
    _footprint("footprint.redraw", "redraw", "/redraw", lambda: redraw),
    _drawing("outline.add", "draw", "", lambda: draw),
    _outline("outline.withdraw", "withdraw", "/{number}/withdraw", lambda: withdraw_outline),
)
