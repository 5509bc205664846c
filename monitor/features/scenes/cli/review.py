"""`slopeward scenes review`: reviews of footprints by people, from which `slopeward scenes learn` trains networks."""

from dataclasses import asdict
from typing import Annotated, Any, Final

import typer

from monitor.api.cli import add_acts, find_readable_sites, session
from monitor.features.scenes.queries import reviews as store

_REVIEW: Final = (
    "`slopeward scenes review`: people judge footprints that the network was not sure of; `scenes learn` uses it."
)
app = session.Commands(no_args_is_help=True, help=_REVIEW)
add_acts(app, "scenes review")


@app.command("list", epilog="Example: slopeward scenes review list --site north-bench")
def list_(
    site: session.SiteFilter = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also footprints that were reviewed, and certain ones.")
    ] = False,
) -> None:
    """List the footprints that a person should review, the least certain first. Exit 4 if there are none."""
    with session.open_database() as db, db.read() as c:
        footprints = store.load_reviewed(c, find_readable_sites(c, site))
        session.check_site(c, site, footprints)
    if not everything:
        footprints = [footprint for footprint in footprints if footprint.unsure and footprint.verdict is None]
    for footprint in footprints:
        session.print_result_in_order(_to_json(footprint), _format_line(footprint))
    session.require_any(footprints, "no footprint" if everything else "no footprint to review; --all lists the others")


def _format_line(footprint: store.ReviewedFootprint) -> str:
    detection = f"by {footprint.method}"
    if footprint.method == store.NETWORK:
        detection = f"{footprint.mean_probability:.3f} (from {footprint.threshold:g})"
    columns = (
        footprint.polygon_id[:12],
        f"{footprint.site} {footprint.scene}",
        detection,
        f"{footprint.area_m2:,.0f} m²",
        footprint.change,
        footprint.verdict or "waiting",
    )
    return "  ".join(columns)


def _to_json(footprint: store.ReviewedFootprint) -> dict[str, Any]:
    values = asdict(footprint)
    del values["path"]
    if footprint.method != store.NETWORK:
        # The number that an index or radar gives is not a probability.
        values |= {"mean_probability": None, "threshold": None}
    return {**values, "method": footprint.method, "unsure": footprint.unsure}
