"""Columns of a pattern, such as the nodes of an inclinometer chain, are asked about in one question."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.features.table_import.guess.guess import guess
from monitor.features.table_import.guess.names import read_heading
from monitor.features.table_import.guess.raw_table import read_raw_table
from tests.data.payloads.guess_tables import read_valid_rows, save_and_reload, write_table

BEGIN = datetime(2025, 3, 4)
UTC_ZONE = {"zone": "UTC"}


def write(path, titles, hours=40):
    """Write hourly rows; the value of column k in hour h is h / 10 + k."""
    rows = [
        f"{BEGIN + timedelta(hours=h):%Y-%m-%d %H:%M};{';'.join(f'{h / 10 + k:.2f}' for k in range(len(titles)))}"
        for h in range(hours)
    ]
    return write_table(path, ";".join(["Time", *titles]), rows)


def understand(path, **answers):
    return guess(read_raw_table(path), UTC_ZONE | {key.replace("__", ":"): text for key, text in answers.items()})


def answer(path, answers):
    return guess(read_raw_table(path), UTC_ZONE | answers)


CHAINS = {
    "Ink_[{i}][{n}]_d{axis}": ("pattern:Ink_[#][#]_d@", "Ink-{i}-{n}", "d"),
    "SAA{i} N{n} {axis}": ("pattern:SAA# N# @", "SAA{i}-N{n}", ""),
    "IPI_{i}_{n}.5m_{axis}": ("pattern:IPI_#_#m_@", "IPI_{i}_{n}-5m", ""),
    "Chain {i}/{n} {axis}": ("pattern:Chain #/# @", "Chain-{i}-{n}", ""),
}


@pytest.mark.one_case_in(4)
@pytest.mark.parametrize("form", CHAINS)
@pytest.mark.parametrize("letters", ["AB", "XY"])
def test_a_chain_is_one_question_and_its_tilt_has_two_axes_at_each_node(tmp_path, form, letters):
    key, station, _ = CHAINS[form]
    nodes = [(i, n) for i in (5, 6) for n in range(1, 9)]
    titles = [form.format(i=i, n=n, axis=axis) for i, n in nodes for axis in letters]
    path = write(tmp_path / "chain.csv", titles)
    (question,) = understand(path).questions
    assert question.key == key
    assert question.choices[:2] == ("tilt", "displacement")
    assert str(question.text).startswith("what do these 32 columns measure: ")
    first = station.format(i=5, n=1)
    assert f"'{titles[0]}' is tilt x of station {first}" in question.examples["tilt"]
    assert f"'{titles[1]}' is tilt y of station {first}" in question.examples["tilt"]
    (unit,) = answer(path, {key: "tilt"}).questions
    assert unit.key == "unit:tilt"
    found = answer(path, {key: "tilt", "unit:tilt": "mm/m"})
    expected = {(station.format(i=i, n=n), axis) for i, n in nodes for axis in ("tilt_x", "tilt_y")}
    assert {(sensor.station, sensor.quantity) for sensor in found.sensors} == expected
    rows = read_valid_rows(path, save_and_reload(found.mapping, path))
    values = {(row["station"], row["quantity"]): float(row["value"]) for row in rows[: len(titles)]}
    assert values[station.format(i=5, n=1), "tilt_y"] == 1.0


def test_displacement_along_each_axis_is_a_series_of_its_own(tmp_path):
    titles = [f"Ink_[5][{n}]_d{axis} (mm)" for n in range(1, 5) for axis in "AB"]
    path = write(tmp_path / "chain.csv", titles)
    (question,) = understand(path).questions
    assert "tilt" not in question.choices
    found = answer(path, {question.key: "displacement"})
    assert {(sensor.station, sensor.quantity) for sensor in found.sensors} == {
        (f"Ink-5-{n}-d{axis}", "displacement") for n in range(1, 5) for axis in "AB"
    }


def test_columns_of_two_patterns_and_one_unit_are_asked_about_apart(tmp_path):
    titles = [f"F{n} (mm)" for n in range(1, 7)] + [f"D{n} (mm)" for n in range(1, 7)]
    path = write(tmp_path / "t.csv", titles)
    assert [question.key for question in understand(path).questions] == ["pattern:F#", "pattern:D#"]
    found = answer(path, {"pattern:F#": "crack_opening", "pattern:D#": "leave out"})
    assert {(sensor.station, sensor.quantity) for sensor in found.sensors} == {
        (f"F{n}", "crack_opening") for n in range(1, 7)
    }
    assert not answer(path, {"quantity:mm": "crack_opening"}).questions


def test_columns_that_name_their_quantity_are_not_asked_about(tmp_path):
    titles = [f"Tilt {n} {axis} (mrad)" for n in range(1, 7) for axis in "XY"]
    found = understand(write(tmp_path / "t.csv", titles))
    assert not found.questions
    assert {(sensor.station, sensor.quantity) for sensor in found.sensors} == {
        (f"Tilt-{n}", axis) for n in range(1, 7) for axis in ("tilt_x", "tilt_y")
    }


@pytest.mark.parametrize("heading", ["Ink_[5][1]_dA", "Press[2](1) raw", "Node (3) A"])
def test_a_number_in_brackets_inside_a_heading_is_no_unit(heading):
    assert read_heading(heading).unit is None


@pytest.mark.soak
@settings(max_examples=10, deadline=None)
@given(
    form=st.sampled_from(sorted(CHAINS)),
    chains=st.integers(1, 3),
    nodes=st.integers(2, 6),
    letters=st.sampled_from(["AB", "XY", "xy", "ab"]),
    is_shuffled=st.booleans(),
)
def test_every_axis_of_every_node_is_kept(tmp_path_factory, form, chains, nodes, letters, is_shuffled):
    key, _, _ = CHAINS[form]
    titles = [form.format(i=i, n=n, axis=axis) for i in range(chains) for n in range(nodes) for axis in letters]
    titles = titles[::-1] if is_shuffled else titles
    path = write(tmp_path_factory.mktemp("chain") / "chain.csv", titles)
    assert [question.key for question in understand(path).questions] == [key]
    for what, unit in (("tilt", "mrad"), ("displacement", "mm")):
        found = answer(path, {key: what, f"unit:{what}": unit, "axes": "each on its own"})
        assert len({(sensor.station, sensor.quantity) for sensor in found.sensors}) == len(titles)
