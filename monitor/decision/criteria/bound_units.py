"""Determine the units of bounds."""

from monitor.sites.records import Site


def find_bound_units(site: Site) -> dict[str, str]:
    """Return the unit of the bounds of each criterion of a site, by its id; empty if it has no declared series."""
    units = {}
    for criterion in site.criteria:
        units[criterion.id] = ""
        for station in criterion.stations:
            spec = site.series(station, criterion.quantity)
            if spec is not None:
                units[criterion.id] = criterion.kind.unit_of(spec.unit)
                break
    return units


def find_declared_units(site: Site) -> dict[str, str]:
    """Return the unit in which the site file states the bounds of each criterion, by its id."""
    return find_bound_units(site) | {c.id: c.kind.unit for c in site.criteria if c.kind.unit is not None}
