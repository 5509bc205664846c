"""The page of instruments of a large site: the most severe state is first, and instruments are found by name."""

import re
from datetime import timedelta

import pytest

from monitor.features.anomalies.queries.scores import AnomalyRow, add_anomalies
from monitor.features.instruments.queries.readings import InstrumentAssessment, save_instruments
from monitor.features.instruments.states import ACTIONS, RANKS
from monitor.readings.queries.storing import add_observations
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.text.instants import parse_time
from monitor.web.access.rules import RULES
from tests.data.accounts import add_account
from tests.features.instruments.test_instruments import HEAD, SITE, STATION, say
from tests.web.test_door import serving
from tests.web.test_rules import PASSWORD, enter, send

NOW = parse_time("2026-03-15T12:00:00Z")
MANY = 300
PAGE = "/sites/bench/instruments"


def judge(name, *states):
    found = tuple((state, RANKS[state], None, f"{state} of {name}", ACTIONS[state]) for state in states)
    return InstrumentAssessment(
        name,
        found,
        12.4,
        NOW,
        None,
        "it does not fall",
        None,
        None,
        "battery_voltage",
        [1.0, 2.0],
    )


@pytest.fixture
def address(database):
    """Three hundred instruments: G0007 has a low battery, G0250 is stuck and faint, G0290 hangs on another logger."""
    names = [f"G{number:04d}" for number in range(MANY)]
    text = HEAD + "".join(STATION.format(n).replace('"L1"', f'"L{int(n[1:]) // 50:02d}"') for n in names)
    site = parse_site(text, "bench.toml")
    wrong = {"G0007": ("battery",), "G0250": ("stuck", "signal"), "G0290": ("calibration",)}
    assert SITE.id == site.id
    with database.write() as c:
        save_site(c, site, "test", "test", NOW)
        save_instruments(c, "bench", [judge(n, *wrong.get(n, ())) for n in names], NOW)
        add_account(c, "bo", PASSWORD, "operator", NOW)
        series = {}
        for name in names[:70]:
            add_observations(c, say(name, NOW - timedelta(hours=6), 12.4), NOW)
            series[name] = c.exec_driver_sql(
                f"SELECT id FROM series WHERE station = '{name}' AND quantity = 'displacement_downslope'"
            ).scalar_one()
        at = NOW - timedelta(hours=6)
        add_anomalies(c, [AnomalyRow(i, at, "rules", 9.0, 4.5, 0.1, "spike", True) for i in series.values()], NOW)
    with serving(database, lambda: NOW) as found:
        yield found


def names_of(page):
    return re.findall(r'id="instrument-(\w+)"', page)


def test_most_severe_instruments_are_first_and_one_is_found_by_name(address):
    with enter(address, "bo") as bo:
        page = bo.get(PAGE).text
        assert names_of(page) == ["G0250", "G0290", "G0007"], "by logger"
        assert "logger L05 <small>" in page
        assert "3 of 300 are shown" in " ".join(page.split())
        assert len(page) < 200_000, "it must load on a phone"
        assert "10 more are not shown" in page, "70 anomalies, of which 60 are listed"
        assert names_of(bo.get(f"{PAGE}?find=g0123").text) == ["G0123"]
        assert names_of(bo.get(f"{PAGE}?find=g0123&state=unwell").text) == ["G0123"], "a name is found in each state"
        assert len(names_of(bo.get(f"{PAGE}?find=L05").text)) == 50
        assert names_of(bo.get(f"{PAGE}?find=L05").text)[:2] == ["G0250", "G0290"]
        assert names_of(bo.get(f"{PAGE}?state=signal").text) == ["G0250"], "also if another state is more severe"
        every = bo.get(f"{PAGE}?state=all").text
        assert (len(names_of(every)), "180 more are not shown" in every) == (120, True)
        assert names_of(bo.get(f"{PAGE}?find=nothing").text) == []
        assert 'value="&lt;b&gt;"' in bo.get(f"{PAGE}?find=<b>").text
        page = bo.get(f"{PAGE}?find=G0042").text
        assert page.count('name="verdict" value="dismissed"') == 1
        tap = dict(re.findall(r'name="(station|quantity|at|seen)" value="([^"]*)"', page)[-4:])
        done = send(bo, "/sites/bench/anomalies/label?find=G0042", **tap, verdict="dismissed", cause="weather")
        assert done.headers["location"].startswith(f"{PAGE}?find=G0042&told=")
        after = bo.get(done.headers["location"]).text
    assert after.count("Withdraw</button>") == 1


def test_without_the_feature_no_link_leads_to_its_page(filled_database, monkeypatch):
    with serving(filled_database, lambda: NOW) as address, enter(address, "bo") as browser:
        monkeypatch.delitem(RULES, "GET /sites/{site}/instruments")
        assert "/instruments" not in browser.get("/sites/north-bench").raise_for_status().text
        back, act = {"detector": "rules", "reason": "weather"}, "/sites/north-bench/anomalies/factor"
        assert send(browser, act, **back).headers["location"].startswith("/sites/north-bench?told=")
        refused = send(browser, act, **back | {"detector": "none"})
    assert refused.status_code in {404, 409}
    assert "/instruments" not in refused.text
