"""The table of units: conversions by physics, spellings without contradictions."""

import math

import pytest

from monitor.sites.quantities import QUANTITIES, convert
from monitor.sites.units import SPELLINGS, UNITS, find_cf_unit, find_senml_unit, find_unit


def test_every_unit_converts_to_a_canonical_unit_that_converts_to_itself():
    for name, unit in UNITS.items():
        assert UNITS[unit.canonical] == (unit.canonical, 1.0, 0.0), name
        assert unit.factor > 0.0
    assert {quantity.unit for quantity in QUANTITIES.values()} <= set(UNITS)


def test_no_spelling_belongs_to_two_units():
    spellings = [(spelling, name) for name, texts in SPELLINGS.items() for spelling in texts]
    assert len({spelling for spelling, _ in spellings}) == len(spellings)
    assert [(spelling, name) for spelling, name in spellings if find_unit(spelling) != name] == []


def test_name_of_a_unit_is_a_spelling_of_it():
    # `percent` is a spelling of `%`; the name remains valid in site files
    assert {name: find_unit(name) for name in UNITS if find_unit(name) != name} == {"percent": "%"}


@pytest.mark.parametrize(
    ("value", "unit", "canonical", "expected"),
    [
        (1.0, "deg", "mrad", 1000 * math.pi / 180),
        (1.0, "gon", "mrad", 1000 * math.pi / 200),
        (60.0, "arcsec", "mrad", 1000 * math.pi / 180 / 60),
        (1.0, "mm/yr", "mm/day", 1 / 365.25),
        (1.0, "m/s", "mm/day", 1000 * 86_400),
        (212.0, "degF", "degC", 100.0),
        (273.15, "K", "degC", 0.0),
        (1.0, "psi", "kPa", 6.894757293168361),
        (12.0, "in", "mm", 304.8),
        (1.0, "mH2O", "kPa", 9.80665),
        (1.0, "ft", "mm", 304.8),
        (10.0, "hPa", "kPa", 1.0),
    ],
)
def test_conversion_is_that_of_physics(value, unit, canonical, expected):
    assert convert(value, unit, canonical) == pytest.approx(expected, rel=1e-12, abs=1e-9)


@pytest.mark.parametrize(
    ("text", "unit"),
    [("kg m-2", "mm"), ("kg m**-2", "mm"), ("kg/m²", "mm"), ("m day-1", "m/day"), ("mm d-1", "mm/day"), ("K", "K")],
)
def test_unit_in_the_metadata_of_a_grid(text, unit):
    assert find_cf_unit(text) == unit


def test_mass_on_an_area_is_a_depth_of_water_in_grids_alone():
    """In a table, kg/m² may also be a pressure."""
    assert find_unit("kg/m2") is None
    assert find_senml_unit("Cel") == "degC"
