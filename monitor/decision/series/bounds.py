"""The bounds in force: after an earthquake they are stricter for a time, for every question of a decision alike."""

from dataclasses import replace

from monitor.domain.site import Criterion, Site, Threshold


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


def lower_bounds(site: Site, factor: float) -> Site:
    """The site with the bounds that are in force when they are lowered to a share of themselves.

    The recovery limit is lowered along: it is a share of the bound, so a level that the stricter bound raised has the
    same distance to fall. With the unlowered limit a slope that moves between both bounds would rise and fall at once.
    When the time is over the declared bounds count again, and what stands falls on fresh data below their limit.
    The jump that is asked about stays the declared one: else leaps that are motion by the declared bounds would be
    taken out as steps, and their motion seen later.

    Args:
        site: the declaration.
        factor: 0 < factor <= 1; 1 = as declared.

    Raises:
        ValueError: a factor that would loosen a bound.
    """
    if not 0.0 < factor <= 1.0:
        raise ValueError(f"a factor on bounds lies between 0 and 1, got {factor:g}")
    if factor == 1.0:
        return site
    return replace(site, criteria=tuple(_lower(c, factor) if c.kind.scaled else c for c in site.criteria))


def _lower(criterion: Criterion, factor: float) -> Criterion:
    return replace(
        criterion,
        declared=criterion.thresholds,
        thresholds=tuple(lower_threshold(t, factor) for t in criterion.thresholds),
        params=tuple(
            (k, v * factor if k in criterion.kind.scaled_params and v > 0 else v) for k, v in criterion.params
        ),
    )


def lower_threshold(threshold: Threshold, factor: float) -> Threshold:
    """A bound nearer to the quiet side, never farther from it.

    >>> lower_threshold(Threshold(1, over=10.0), 0.5).over, lower_threshold(Threshold(1, under=-2.0), 0.5).under
    (5.0, -1.0)
    >>> lower_threshold(Threshold(1, over=-1.0), 0.5).over
    -1.0
    """
    over, under = threshold.over, threshold.under
    return replace(
        threshold,
        over=over * factor if over is not None and over > 0 else over,
        under=under * factor if under is not None and under < 0 else under,
    )
