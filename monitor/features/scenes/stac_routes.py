"""The STAC catalogue of the scenes of a site in the HTTP API."""

from typing import Any

from fastapi import APIRouter, Request

from monitor.api.errors import NotFoundError
from monitor.api.web import GeoJsonResponse, context_of, read_site
from monitor.features.scenes.queries.cards import NO_READ_SCENE, load_read_scenes
from monitor.features.scenes.stac import StacCollection, describe_collection, describe_item, describe_items

router = APIRouter(prefix="/api/v1", tags=["export"])


@router.get("/sites/{site}/stac", response_model=dict[str, Any])
def get_collection(request: Request, site: str) -> StacCollection:
    """Scenes of a site as a STAC collection."""
    with read_site(request, site) as seen:
        return describe_collection(seen.c, seen.card, _find_root(request, site))


@router.get("/sites/{site}/stac/items", response_class=GeoJsonResponse)
def list_items(request: Request, site: str) -> GeoJsonResponse:
    """All scenes that were read, as STAC items."""
    with read_site(request, site) as seen:
        return GeoJsonResponse(describe_items(seen.c, seen.card, _find_root(request, site)))


@router.get("/sites/{site}/stac/items/{scene_hash}", response_class=GeoJsonResponse)
def get_item(request: Request, site: str, scene_hash: str) -> GeoJsonResponse:
    """One scene as a STAC item."""
    with read_site(request, site) as seen:
        for scene in load_read_scenes(seen.c, seen.card.id, 1, scene_hash):
            return GeoJsonResponse(describe_item(scene, seen.card, _find_root(request, site)))
    raise NotFoundError(NO_READ_SCENE(site=site, name=scene_hash[:12]))


def _find_root(request: Request, site: str) -> str:
    """Return the address of the collection of a site, as other programs reach it."""
    page = context_of(request).config.web.public_url.rstrip("/") or str(request.base_url).rstrip("/")
    return f"{page}/api/v1/sites/{site}/stac"
