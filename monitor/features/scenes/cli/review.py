"""`slopeward scenes review`: reviews of footprints by people, from which `slopeward scenes learn` trains networks."""

from dataclasses import asdict
from typing import Annotated, Any, Final

import typer

from monitor.api.cli import add_acts, session
from monitor.features.scenes.queries import reviews as store

_REVIEW: Final = (
    "`slopeward scenes review`: people judge footprints that the network was not sure of; `scenes learn` uses it."
)
app = session.Commands(no_args_is_help=True, help=_REVIEW)
add_acts(app, "scenes review")


@app.command("list", epilog="Example: slopeward scenes review list --site north-bench")
def list_(
    site: session.SiteOption,
    everything: Annotated[bool, typer.Option("--all", help="Also those it was sure of or that were judged.")] = False,
) -> None:
    """Show the footprints that wait for a look, the least sure first; exit 4 when there is none."""
    with session.open_database() as db, db.read() as c:
        found = store.load_reviewed(c, site)
        session.check_site(c, site, found)
    shown = [one for one in found if everything or (one.unsure and one.verdict is None)]
    for one in shown:
        if not session.print_if_json(_facts(one)):
            state = one.verdict or "waiting"
            found_by = f"by {one.method}"
            if one.method == store.NETWORK:
                found_by = f"{one.mean_probability:.3f} (from {one.threshold:g})"
            print(f"{one.polygon_id[:12]}  {one.scene}  {found_by}  {one.area_m2:,.0f} m²  {one.change}  {state}")
    session.require_any(shown, "no footprint" + ("" if everything else " waits for a look; --all lists the others"))


def _facts(one: store.ReviewedFootprint) -> dict[str, Any]:
    kept = {key: value for key, value in asdict(one).items() if key != "path"}
    if one.method != store.NETWORK:
        kept |= {"mean_probability": None, "threshold": None}  # what an index or radar gives is no probability
    return {**kept, "method": one.method, "unsure": one.unsure}
