"""`slopeward sites map susceptibility`: draw the susceptibility map of a site for the maps of the page."""

from pathlib import Path

from monitor.api.cli import Commands, SiteArgument, pick_site, print_result, read_service
from monitor.api.errors import NotFoundError, RefusedError
from monitor.api.worker import WorkerTask, run_in_worker
from slopeward_earth.susceptibility.records import PictureRequest, PictureResult

app = Commands()
PICTURE: WorkerTask[PictureRequest, PictureResult] = WorkerTask(
    "slopeward_earth.susceptibility.picture:show", PictureRequest, PictureResult
)


@app.command("susceptibility")
def susceptibility(site: SiteArgument) -> None:
    """Draw the picture of the susceptibility map that the site file names (`[scenes] prior`), for the map of the page.

    Example: slopeward sites map susceptibility north-bench
    """
    service = read_service()
    declared = pick_site(service, site)
    if not declared.scenes.prior:
        raise RefusedError(f'the site file of {site} names no map; write [scenes] prior = "susceptibility.tif"')
    prior = Path(declared.scenes.prior).absolute()
    if not prior.is_file():
        raise NotFoundError(f"{prior}: no such file")
    out = service.paths.susceptibility_path(declared.id).absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    request = PictureRequest(prior, out, *declared.scenes.placed)
    found = run_in_worker(service.compute, PICTURE, request, reads=[prior], writes=[out.parent])
    if found.error:
        raise RefusedError(found.error)
    facts = {"file": str(out), "sha256": found.sha256, "bounds": list(found.bounds)}
    print_result(facts, f"{out}: picture of {prior.name} (sha256 {found.sha256[:12]})")
