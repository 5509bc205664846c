"""A column with a known meaning is read with this meaning, or its owner is asked; it is never read otherwise."""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.errors import ConfigError
from monitor.features.table_import.guess.guess import guess
from monitor.features.table_import.guess.names import LEAD, Candidate, choose_candidate, list_candidates, read_heading
from monitor.features.table_import.guess.raw_table import read_raw_table
from monitor.sites.quantities import QUANTITIES, convert, is_unit_of
from tests.data.payloads.guess_tables import read_valid_rows, save_and_reload, write_table
from tests.fixtures.examples import expensive_examples

BEGIN = datetime(2025, 3, 4)
ROWS = 40

# Words for a quantity, its units, and the usual value in its canonical unit.
WORDS = {
    "crack_opening": (
        ("Crack", "Crackmeter", "Riss", "Fessurimetro", "Fissuromètre", "Grieta", "Extensometer", "裂缝"),
        ("mm", "cm", "in", "µm"),
        12.0,
    ),
    "pore_pressure": (
        ("Piezometer", "Pore pressure", "Porenwasserdruck", "Piezometro", "Piézomètre", "孔隙水压"),
        ("kPa", "psi", "mbar"),
        40.0,
    ),
    "groundwater_level": (
        ("Groundwater level", "Grundwasserstand", "Livello falda", "Niveau nappe", "Nivel freático", "地下水位"),
        ("m", "cm", "ft"),
        7.0,
    ),
    "temperature": (("Temperature", "Lufttemperatur", "Temperatura", "Température", "温度"), ("°C", "degC", "°F"), 9.0),
    "tilt": (("Tiltmeter", "Neigung", "Inclinometro", "Clinomètre", "倾角"), ("mrad", "deg", "mm/m"), 3.0),
    "soil_moisture": (("Soil moisture", "Bodenfeuchte", "VWC", "含水率"), ("%", "m³/m³"), 30.0),
    "displacement": (("Displacement", "Verschiebung", "Spostamento", "Déplacement", "位移"), ("mm", "cm", "m"), 25.0),
    "strain": (("Strain", "Dehnung", "应变"), ("µε", "microstrain"), 300.0),
}
PLACES = ("", "upper", "Süd", "Lake road", "Rainier", "Bregenz", "Terrain", "Stage 3", "Dam crest", "Mühle", "scarp")
FORMS = (
    "{words} {place} {number} [{unit}]",
    "{place} {words} {number} ({unit})",
    "{words}_{number}_{place} [{unit}]",
    "{number} {words} {place} ({unit})",
    "{words}{number} {place}/{unit}",
)
WITHOUT_UNIT = ("{words} {place} {number}", "{words}_{number}")


@dataclass(frozen=True)
class Column:
    """A column as its owner means it."""

    heading: str
    quantity: str
    unit: str | None
    values: tuple[float, ...]


def to_unit(value, quantity, unit):
    """Return a value of the canonical unit in another unit."""
    zero, one = (convert(number, unit, QUANTITIES[quantity].unit) for number in (0.0, 1.0))
    return (value - zero) / (one - zero)


@st.composite
def draw_columns(draw, forms=FORMS):
    """Draw columns of different instruments with headings in several languages."""
    columns = []
    for number in range(1, draw(st.integers(1, 5)) + 1):
        quantity = draw(st.sampled_from(sorted(WORDS)))
        words, units, usual = WORDS[quantity]
        unit = draw(st.sampled_from(units))
        heading = draw(st.sampled_from(forms)).format(
            words=draw(st.sampled_from(words)), place=draw(st.sampled_from(PLACES)), number=number, unit=unit
        )
        heading = draw(st.sampled_from([str, str.upper, str.lower, str.title]))(heading) if unit == "mm" else heading
        known = {"°C": "degC", "°F": "degF", "µm": "um", "µε": "microstrain", "m³/m³": "m3/m3"}.get(unit, unit)
        rng = random.Random(draw(st.integers(0, 999)))
        values = tuple(round(to_unit(usual + 0.05 * k + rng.gauss(0, 0.02), quantity, known), 4) for k in range(ROWS))
        columns.append(Column(" ".join(heading.split()), quantity, known, values))
    return columns


def write(folder, columns):
    rows = [
        f"{BEGIN + timedelta(hours=k):%Y-%m-%d %H:%M};{';'.join(f'{column.values[k]:.4f}' for column in columns)}"
        for k in range(ROWS)
    ]
    return write_table(folder / "table.csv", ";".join(["Time (UTC)", *(column.heading for column in columns)]), rows)


def find_misread(path, columns, answers=None):
    """Return the columns that are read with another meaning and about which nobody is asked."""
    result = guess(read_raw_table(path), answers or {})
    if result.questions:
        return []
    rules = {rule.name: rule for rule in result.mapping.columns}
    rows = read_valid_rows(path, save_and_reload(result.mapping, path))
    misread = []
    for column in columns:
        rule = rules.get(column.heading)
        if rule is None or (rule.quantity, rule.unit) != (column.quantity, column.unit):
            misread.append((column.heading, rule and (rule.quantity, rule.unit)))
            continue
        values = [
            float(row["value"]) for row in rows if (row["station"], row["quantity"]) == (rule.station, rule.quantity)
        ]
        if values != pytest.approx(column.values, abs=1e-6) and values != pytest.approx([-v for v in column.values]):
            misread.append((column.heading, values[:3]))
    return misread


@expensive_examples(120, deadline=None)
@given(columns=draw_columns())
def test_a_column_is_read_as_it_is_meant_or_asked_about(tmp_path_factory, columns):
    if len({column.heading for column in columns}) < len(columns):
        return
    path = write(tmp_path_factory.mktemp("columns"), columns)
    try:
        assert find_misread(path, columns) == []
    except ConfigError as error:
        pytest.fail(f"a table with names and units is refused: {error}")


@pytest.mark.one_case_in(4)
@pytest.mark.parametrize("quantity", sorted(WORDS))
def test_headings_with_one_meaning_need_no_question(quantity):
    words, units, _ = WORDS[quantity]
    for word, unit, form in product(words, units, FORMS):
        for place in PLACES:
            if place not in {"Lake road", "Stage 3"}:  # words for a level of water
                heading = " ".join(form.format(words=word, place=place, number=3, unit=unit).split())
                assert read_heading(heading).quantity == quantity, heading


@expensive_examples(60, deadline=None)
@given(columns=draw_columns(WITHOUT_UNIT))
def test_a_column_without_a_unit_is_asked_about(tmp_path_factory, columns):
    path = write(tmp_path_factory.mktemp("columns"), columns)
    assert guess(read_raw_table(path), {}).questions


@settings(max_examples=60, deadline=None)
@given(
    first=st.sampled_from(sorted(WORDS)),
    second=st.sampled_from(sorted(WORDS)),
    unit=st.sampled_from(["mm", "kPa", "m", "degC", "mrad", "%", None]),
    pick=st.integers(0, 99),
)
def test_words_of_two_quantities_are_settled_by_the_unit_or_not_at_all(first, second, unit, pick):
    words = [WORDS[quantity][0][pick % len(WORDS[quantity][0])] for quantity in (first, second)]
    best = choose_candidate(list_candidates(" ".join(words), unit))
    fitting = {quantity for quantity in (first, second) if unit is None or is_unit_of(unit, quantity)}
    if len(fitting) == 2:
        # A displacement is the general term for the opening of a crack, a tilt and a strain.
        general = {"displacement"} if fitting & {"crack_opening", "tilt", "strain"} else set()
        assert best is None or {best.quantity} == fitting - general
    elif best is not None:
        assert {best.quantity} == fitting


def test_a_candidate_that_leads_by_less_than_the_lead_is_not_taken():
    close = (Candidate("rain", 4.0), Candidate("snow_depth", 4.0 - LEAD / 2))
    clear = (Candidate("rain", 4.0), Candidate("snow_depth", 4.0 - LEAD))
    assert choose_candidate(close) is None
    assert choose_candidate(clear) == clear[0]


@pytest.mark.parametrize(
    ("module", "name", "mutant"),
    [
        ("names", "choose_candidate", lambda candidates: candidates[0] if candidates else None),
        ("names", "is_unit_of", lambda unit, quantity: True),
        ("names", "unit_of_header", lambda text: None),
    ],
)
def test_the_law_fails_if_the_rules_of_headings_are_broken(tmp_path, monkeypatch, module, name, mutant):
    """Each mutant reads one of these tables otherwise than its owner means it."""
    columns = [
        Column("Crack at the lake 1 [mm]", "crack_opening", "mm", tuple(12 + k / 20 for k in range(ROWS))),
        Column("Piezometer temperature 2 [degC]", "temperature", "degC", tuple(9 + k / 20 for k in range(ROWS))),
        Column("Crack 3/cm", "crack_opening", "cm", tuple(1 + k / 200 for k in range(ROWS))),
    ]
    path = write(tmp_path, columns)
    read_heading.cache_clear()
    assert find_misread(path, columns) == []
    read_heading.cache_clear()
    monkeypatch.setattr(f"monitor.features.table_import.guess.{module}.{name}", mutant)
    answers = {"quantity:mm": "crack_opening", "unit:crack_opening": "mm", "quantity": "leave out"}
    try:
        assert find_misread(path, columns, answers)
    except ConfigError:
        pass
    finally:
        read_heading.cache_clear()
