"""Units of grids: what the file states, or what the user gives where the file states none."""

from monitor.errors import ConfigError
from monitor.sites.units import find_cf_unit


def read_unit(text: str) -> str:
    """Return our spelling of a unit of a grid; the text itself if the unit is unknown.

    >>> read_unit("kg m-2"), read_unit("m"), read_unit("furlong")
    ('mm', 'm', 'furlong')
    """
    return find_cf_unit(text) or text.strip()


def choose_unit(stated: str, given: str | None, name: str) -> str:
    """Return the unit of a grid.

    Args:
        stated: Unit in the file; empty if the file states none.
        given: Unit that the user gave.
        name: Name of the file, for messages.

    Raises:
        ConfigError: there is no unit, or file and user contradict each other.
    """
    unit = read_unit(stated)
    if not unit and not given:
        raise ConfigError(f"{name}: the file states no unit: give --unit")
    if unit and given and unit != given:
        raise ConfigError(f"{name}: the file states the unit {unit!r}, not {given!r}")
    return unit or str(given)
