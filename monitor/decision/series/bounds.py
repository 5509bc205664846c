"""The units in which bounds are stated."""

from monitor.sites.records import Site


def bound_units(site: Site) -> dict[str, str]:
    """The unit of the bounds of each criterion of a site, by its id."""
    found = {}
    for criterion in site.criteria:
        spec = next((s for n in criterion.stations if (s := site.series(n, criterion.quantity)) is not None), None)
        found[criterion.id] = "" if spec is None else criterion.kind.unit_of(spec.unit)
    return found


def declared_units(site: Site) -> dict[str, str]:
    """The unit in which the site file states the bounds of each criterion, by its id."""
    return bound_units(site) | {c.id: c.kind.unit for c in site.criteria if c.kind.unit is not None}
