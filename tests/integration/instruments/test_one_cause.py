"""What one cause silenced stands under that cause, with what to do there; a notice names the parent that it is of."""

import pytest

from monitor.alerting.evaluate import evaluate_site
from monitor.config.service import parse_site
from monitor.domain.instants import parse
from monitor.domain.instruments.board import RANKS
from monitor.domain.language.catalogue import LANGUAGES
from monitor.domain.language.rendering import translate
from monitor.domain.observation import Observation
from monitor.jobs.instruments.checks import check_anomalies
from monitor.jobs.instruments.run import list_changes
from monitor.store.alerting.sites import save_site
from monitor.store.instrument_board import load_board
from monitor.store.readings.instruments import InstrumentAssessment
from monitor.store.readings.observations import add_observations
from tests.data.site_text import along
from tests.data.store_rows import ask
from tests.integration.alerting.test_instruments import HEAD, HOUR

NOW = parse("2026-03-15T12:00:00Z")
TWENTY = [f"R{number:02d}" for number in range(20)]
ROVERS = [along(name, "1h", "3h", reference="BASE", logger=f"L{name}", power="PV1", gateway="W1") for name in TWENTY]
SITE = parse_site(
    HEAD + "".join(ROVERS) + along("G1", "1h", "3h", reference="OTHER", logger="LG1", power="PV2", gateway="W2"),
    "bench.toml",
)


def test_twenty_rovers_of_a_dead_base_are_one_group_with_one_act(database):
    ended = NOW - 6 * HOUR
    rows = [
        Observation("bench", name, "displacement_downslope", "mm", at, at, 1.0 + hours % 5 / 10.0)
        for name in [*TWENTY, "G1"]
        for hours in range(48)
        if (at := NOW - hours * HOUR) <= ended or name == "G1"
    ]
    with database.write() as c:
        save_site(c, SITE, "test", "test", NOW - 48 * HOUR)
        add_observations(c, rows, NOW)
    evaluate_site(database, SITE, NOW, "tick")
    board = ask(database, load_board, "bench")
    assert {(r["parent"], r["action"]) for r in board if r["instrument"] in TWENTY} == {
        ("base BASE", "look at power, antenna and radio of base BASE")
    }
    assert [r["parent"] for r in board if r["instrument"] == "G1"] == ["logger LG1"]
    acts = [r["action"] for r in board if r["instrument"] in TWENTY]
    assert all(translate(act, code) != act for act in acts for code in LANGUAGES if code != "en")


@pytest.mark.parametrize(
    ("state", "named"),
    [("solar", "power:PV1"), ("fix", "base:BASE"), ("signal", "gateway:W1"), ("battery", "power:PV1")],
)
def test_a_notice_names_the_parent_that_its_state_is_of(state, named):
    (change,) = list_changes(SITE, judge(state), {})
    assert change.key == f"health:instrument:{named}:{state}"
    kind, _, name = named.partition(":")
    assert change.reason.startswith(f"{'power supply' if kind == 'power' else kind} {name}: R00, ")


def judge(state):
    found = ((state, RANKS[state], NOW, "why", "do"),)
    return [InstrumentAssessment(n, found, None, None, None, "", None, None, None, None) for n in TWENTY]


def test_a_notice_that_is_open_goes_on_under_its_name():
    assert list_changes(SITE, judge("solar"), {"health:instrument:gateway:W1:solar": "why"}) == []


def test_a_changed_unit_asks_for_the_unit():
    """No reading is set aside by it."""
    (found,) = check_anomalies([("pore_pressure", "unit", NOW, None)])
    assert found.action == "see whether its unit changed, such as by a new firmware"
