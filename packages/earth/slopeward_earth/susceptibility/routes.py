"""The susceptibility map of a site as a layer of its map."""

from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse

from monitor.api.settings import PathsSection
from monitor.api.sites import Site
from monitor.api.text import Template
from monitor.api.web import read_site, send_range
from slopeward_earth.susceptibility.records import read_shown

router = APIRouter(prefix="/api/v1", tags=["maps"])
DAY_S: Final = 86_400
_NO_SUSCEPTIBILITY: Final = Template("map.no_susceptibility", "this site has no susceptibility map")
# facts of the map that its legend shows
SHOWN: Final = ("sha256", "bounds", "classes", "made_on", "inventory", "from", "to", "auc", "landslides")


def describe_layer(paths: PathsSection, site: str, declared: Site | None) -> dict[str, Any]:
    """Return the layer `susceptibility`: address, legend and origin; nothing while the declared map is not drawn."""
    prior = declared.scenes.prior if declared is not None else ""
    shown = read_shown(paths.susceptibility_path(site)) if prior else None
    if shown is None or shown["path"] != str(Path(prior).absolute()):  # the picture shows an earlier map
        return {}
    url = f"/api/v1/sites/{site}/susceptibility.png?of={str(shown['sha256'])[:12]}"
    return {"susceptibility": {"url": url, **{name: shown.get(name) for name in SHOWN}}}


@router.get("/sites/{site}/susceptibility.png", response_class=FileResponse)
def send_susceptibility(request: Request, site: str) -> FileResponse:
    """Send the picture of the site's susceptibility map, on a grid of longitude and latitude."""
    with read_site(request, site) as seen:
        path = seen.context.config.paths.susceptibility_path(site)
    return send_range(path, _NO_SUSCEPTIBILITY(), "image/png", DAY_S)
