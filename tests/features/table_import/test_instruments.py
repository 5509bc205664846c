"""Series of one instrument are one witness: axes, nodes of a chain, and copies under another name."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.features.table_import.folder import ImportReader, list_import_files
from monitor.features.table_import.guess.guess import guess
from monitor.features.table_import.guess.instruments import SeriesSampler
from monitor.features.table_import.guess.raw_table import read_raw_table
from monitor.features.table_import.guess.site_file import add_stations, find_absent, write_site
from monitor.features.table_import.guess.values import CheckedValue
from monitor.sites.parsing import parse_site
from monitor.sites.witnesses import find_groups
from tests.data.payloads.guess_tables import write_table

BEGIN = datetime(2025, 3, 4)
ROWS = 60
ANSWERS = {"zone": "UTC", "axes": "each on its own"}


def write(path, columns):
    """Write hourly rows; `columns` are the texts of the cells by heading."""
    rows = [
        f"{BEGIN + timedelta(hours=row):%Y-%m-%d %H:%M};{';'.join(cells[row] for cells in columns.values())}"
        for row in range(ROWS)
    ]
    return write_table(path, ";".join(["Time", *columns]), rows)


def simulate(seed, decimals=2, rows=ROWS):
    """Return the values of an instrument that moves 6 mm a day, with noise of 0.5 mm."""
    rng = random.Random(seed)
    return [f"{0.25 * row + rng.gauss(0, 0.5):.{decimals}f}" for row in range(rows)]


def understand(path, **answers):
    return guess(read_raw_table(path), ANSWERS | {key.replace("__", ":"): text for key, text in answers.items()})


def answer_all(path, choose):
    """Answer the questions of a file until none is open."""
    answers = dict(ANSWERS)
    for _ in range(8):
        found = guess(read_raw_table(path), answers)
        if not found.questions:
            return found
        answers |= {question.key: choose(question) for question in found.questions}
    raise AssertionError([question.key for question in found.questions])


def parse_written_site(found):
    return parse_site(write_site("slope", (46.0, 9.0), "UTC", found.sensors), "slope")


def count_groups(found):
    site = parse_written_site(found)
    groups = find_groups(site)
    return len({groups[station.id] for station in site.stations})


def choose_displacement(question):
    if "displacement" in question.choices:
        return "displacement"
    if "mm" in question.choices:
        return "mm"
    return "one for each number" if question.key.startswith("instrument") else question.choices[0]


def test_two_axes_of_a_sensor_are_one_witness(tmp_path):
    titles = ("Ink_[5][1]_dA", "Ink_[5][1]_dB")
    path = write(tmp_path / "t.csv", {title: simulate(k) for k, title in enumerate(titles)})
    found = answer_all(path, choose_displacement)
    assert {sensor.station for sensor in found.sensors} == {"Ink-5-1-dA", "Ink-5-1-dB"}
    assert count_groups(found) == 1
    assert "Ink-5-1-dA + Ink-5-1-dB" in str(dict(found.facts)["instrument"])
    assert parse_written_site(found).fusion.top_needs == 1, "the only witness is enough"


@pytest.mark.parametrize("quantity", ["tilt", "displacement"])
def test_nodes_of_a_chain_are_one_witness_and_two_chains_are_two(tmp_path, quantity):
    titles = [f"Ink_[{chain}][{node}]_d{axis}" for chain in (5, 6) for node in (1, 2, 3) for axis in "AB"]
    path = write(tmp_path / "t.csv", {title: simulate(k) for k, title in enumerate(titles)})
    unit = {"tilt": "mrad", "displacement": "mm"}[quantity]
    found = understand(path, **{"pattern:Ink_[#][#]_d@": quantity, f"unit:{quantity}": unit})
    assert not found.questions
    assert {sensor.instrument for sensor in found.sensors} == {"Ink-5", "Ink-6"}
    assert count_groups(found) == 2
    if quantity == "displacement":
        assert parse_written_site(found).fusion.top_needs == 2


@pytest.mark.parametrize(
    "headings",
    [
        ("Crack 1 X (mm)", "Crack 1 Y (mm)", "Crack 1 Z (mm)"),
        ("Displacement 3 A (mm)", "Displacement 3 B (mm)"),
        ("Displacement A (mm)", "Displacement B (mm)"),
        ("X-axis displacement (mm)", "Y-axis displacement (mm)"),
        ("Displacement axis 1 (mm)", "Displacement axis 2 (mm)"),
        ("Displacement_X1 (mm)", "Displacement_Y1 (mm)"),
    ],
)
def test_columns_that_differ_in_the_letter_of_an_axis_are_one_witness(tmp_path, headings):
    path = write(tmp_path / "t.csv", {title: simulate(k) for k, title in enumerate(headings)})
    found = answer_all(path, choose_displacement)
    assert count_groups(found) == 1


@pytest.mark.parametrize(
    "headings",
    [
        ("Crack A (mm)", "Crack B (mm)"),
        ("Displacement A (mm)", "Displacement B (mm)", "Displacement C (mm)"),
        ("Crack 1 (mm)", "Crack 2 (mm)", "Crack 3 (mm)"),
        ("Crack 1.1 (mm)", "Crack 1.2 (mm)"),
    ],
)
def test_letters_and_numbers_that_name_instruments_are_no_axes(tmp_path, headings):
    path = write(tmp_path / "t.csv", {title: simulate(k) for k, title in enumerate(headings)})
    assert count_groups(answer_all(path, choose_displacement)) == len(headings)


def test_a_number_before_the_axis_is_asked_about(tmp_path):
    titles = [f"T{number}_{axis}" for number in (1, 2, 3) for axis in "AB"]
    path = write(tmp_path / "t.csv", {title: simulate(k) for k, title in enumerate(titles)})
    answers = {"pattern__T#_@": "displacement", "unit": "mm"}
    (question,) = understand(path, **answers).questions
    assert question.key == "instrument:t#_@"
    assert question.examples == {
        "one instrument": "witnesses: T1_A + T1_B + ... + T3_B",
        "one for each number": "witnesses: T1_A + T1_B, T2_A + T2_B, T3_A + T3_B",
    }
    assert count_groups(understand(path, **answers, **{question.key: "one instrument"})) == 1
    assert count_groups(understand(path, **answers, **{question.key: "one for each number"})) == 3


@pytest.mark.parametrize(
    "copy",
    [
        lambda values: values,
        lambda values: [f"{float(value):.1f}" for value in values],
        lambda values: [f"{float(value) + 12.3:.2f}" for value in values],
        lambda values: ["9.99", *values[1:]],
    ],
)
def test_a_copy_under_another_name_is_no_second_witness(tmp_path, copy):
    values = simulate(1)
    columns = {"Crack 1 (mm)": values, "Crack 2 (mm)": simulate(2), "Riss 9 (mm)": copy(values)}
    found = understand(write(tmp_path / "t.csv", columns))
    assert count_groups(found) == 2
    assert "Crack-1 + Riss-9" in str(dict(found.facts)["instrument"])


def test_a_copy_in_rows_is_no_second_witness(tmp_path):
    series = {"P1": simulate(1), "P2": simulate(2), "North": [f"{float(v):.1f}" for v in simulate(1)]}
    rows = [
        f"{BEGIN + timedelta(hours=row):%Y-%m-%d %H:%M};{station};{values[row]}"
        for row in range(ROWS)
        for station, values in series.items()
    ]
    found = understand(write_table(tmp_path / "t.csv", "Time;Station;Displacement (mm)", rows))
    assert {sensor.station: sensor.instrument for sensor in found.sensors} == {"P1": "P1", "P2": "", "North": "P1"}
    assert count_groups(found) == 2


@pytest.mark.parametrize("decimals", [0, 1, 2])
def test_instruments_at_rest_are_no_copies_of_each_other(tmp_path, decimals):
    columns = {}
    for number in range(1, 7):
        rng = random.Random(number)
        columns[f"Crack {number} (mm)"] = [f"{rng.gauss(3, 0.05):.{decimals}f}" for _ in range(ROWS)]
    assert count_groups(understand(write(tmp_path / "t.csv", columns))) == 6


@pytest.mark.parametrize("logger", ["", 'logger = "L1"\n'])
def test_a_copy_of_a_station_of_the_site_file_joins_it(tmp_path, logger):
    values = simulate(1)
    site = f"""
[site]
id = "slope"
name = "Slope"
latitude = 46.0
longitude = 9.0
[[station]]
id = "Crack-1"
{logger}[[station.series]]
quantity = "crack_opening"
unit = "mm"
interval = "1h"
"""
    declared = parse_site(site, "slope")
    found = understand(write(tmp_path / "t.csv", {"Crack 1 (mm)": values, "Riss 9 (mm)": values}))
    whole = parse_site(add_stations(declared, find_absent(declared, found.sensors)), "slope")
    groups = find_groups(whole)
    assert groups["Crack-1"] == groups["Riss-9"]


# ---- several files ---------------------------------------------------------------------------------------------


def write_folder(folder, columns):
    """Write a file for each series, named after its station."""
    for name, (heading, cells) in columns.items():
        write(folder / f"{name}.csv", {heading: cells})


def understand_folder(folder):
    reader = ImportReader(list_import_files([folder]).files, None, asks_place=False)
    return reader.guess({"zone": "UTC"})


def test_axes_in_files_of_their_own_are_one_witness(tmp_path):
    names = [f"IPI_5_{node}_{axis}" for node in (1, 2) for axis in "XY"]
    write_folder(tmp_path, {name: ("Displacement (mm)", simulate(k)) for k, name in enumerate(names)})
    found = understand_folder(tmp_path)
    assert count_groups(found.merge()) == 1
    assert "IPI_5_1_X + IPI_5_1_Y + ... + IPI_5_2_Y" in str(found.find_instruments().facts)


def test_a_copy_in_another_file_is_no_second_witness(tmp_path):
    values = simulate(1)
    columns = {
        "north": ("Crack (mm)", values),
        "south": ("Crack (mm)", simulate(2)),
        "crest": ("Riss (cm)", [f"{float(value) / 10:.2f}" for value in values]),
    }
    write_folder(tmp_path, columns)
    found = understand_folder(tmp_path)
    assert count_groups(found.merge()) == 2
    assert "crest + north" in str(found.find_instruments().facts)


def test_instruments_in_files_of_their_own_are_witnesses(tmp_path):
    write_folder(tmp_path, {f"E{k}": ("Crack (mm)", simulate(k)) for k in range(1, 5)})
    found = understand_folder(tmp_path)
    assert count_groups(found.merge()) == 4
    assert not found.find_instruments().facts


def test_a_long_record_is_sampled_at_the_same_instants():
    sampler = SeriesSampler()
    for row in range(9000):
        at = BEGIN.replace(tzinfo=UTC) + timedelta(minutes=10 * row + 5)
        sampler.add(CheckedValue(at, "", "A", "crack_opening", f"{row / 100:.2f}", "mm"))
        if row % 7:
            sampler.add(CheckedValue(at, "", "B", "crack_opening", f"{row / 1000:.2f}", "cm"))
    one, other = sampler.list_series()
    assert len(one.values) <= 2000
    assert len(one.values.keys() & other.values.keys()) > 500
    assert (one.step, other.step) == (pytest.approx(0.01), pytest.approx(0.1))


# ---- the law ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Instrument:
    """An instrument with the headings of its columns and their values."""

    columns: dict[str, list[str]]


FORMS = {
    "crack": ("Crack {n} (mm)",),
    "triaxial": ("Joint meter {n} X (mm)", "Joint meter {n} Y (mm)", "Joint meter {n} Z (mm)"),
    "directions": ("Displacement {n} A (mm)", "Displacement {n} B (mm)"),
    "chain": tuple(f"IPI_{{n}}_{node}_{axis} (mm)" for node in (1, 2, 3) for axis in "AB"),
    "inclinometer": tuple(f"Ink_[{{n}}][{node}]_d{axis} (mm)" for node in (1, 2) for axis in "XY"),
}


@st.composite
def draw_instruments(draw):
    instruments = []
    for number in range(1, draw(st.integers(1, 4)) + 1):
        forms = FORMS[draw(st.sampled_from(sorted(FORMS)))]
        columns = {
            form.format(n=number): simulate(100 * number + k, draw(st.integers(1, 3))) for k, form in enumerate(forms)
        }
        if draw(st.booleans()):
            source = draw(st.sampled_from(sorted(columns)))
            shift = draw(st.sampled_from([0.0, 7.5]))
            columns[f"Riss {number + 20} (mm)"] = [f"{float(value) + shift:.1f}" for value in columns[source]]
        instruments.append(Instrument(columns))
    return instruments


@pytest.mark.soak
@settings(max_examples=25, deadline=None)
@given(instruments=draw_instruments(), seed=st.integers(0, 99))
def test_a_site_file_has_no_more_witnesses_than_instruments(tmp_path_factory, instruments, seed):
    columns = [item for instrument in instruments for item in instrument.columns.items()]
    random.Random(seed).shuffle(columns)
    path = write(tmp_path_factory.mktemp("table") / "t.csv", dict(columns))
    assert count_groups(answer_all(path, choose_displacement)) <= len(instruments)
