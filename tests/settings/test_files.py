"""Configuration files: shipped files, error messages, overrides, secrets."""

import os
import re
from pathlib import Path

import pytest

from monitor.errors import ConfigError
from monitor.features.demo.slope import SlopeModel
from monitor.sections import read_text
from monitor.settings.service import load_service, parse_service
from monitor.sites.files import scan_sites
from monitor.sites.first_site import write_first_site
from monitor.sites.parsing import find_cautions, find_weaknesses, parse_site
from monitor.sites.records import Threshold
from tests.data.simulated_slope import write_site_toml
from tests.data.site_text import criterion, head, series, station
from tests.tables import tabulated

SERIES = "station[0].series[0]"
TABLES = "station: expected a list of tables, each below [[station]]"
ROOT = Path(__file__).parents[2]
EXAMPLE = (ROOT / "configs/sites/north-bench.toml").read_text()


def read_error(text, name="x.toml"):
    with pytest.raises(ConfigError) as error:
        parse_site(text, name)
    line = str(error.value)
    assert "\n" not in line
    assert line.startswith("x.toml: ")
    return line


def test_shipped_files_are_valid():
    assert load_service(ROOT / "configs/slopeward.toml", {}) == parse_service("", "empty")
    site = parse_site(EXAMPLE, "x.toml")
    velocity = site.criteria[0]
    assert velocity.stations == ("G1", "G2")
    assert velocity.thresholds[2] == Threshold(3, 100.0, None, 21600.0)
    assert [level.auto_lower for level in site.levels] == [True, True, False, False]
    assert site.criteria[1].stations == ("E1",)
    assert dict(site.criteria[3].params)["duration_to_s"] == 864000.0
    assert len(site.version) == 64
    assert find_weaknesses(site) == []
    assert find_weaknesses(parse_site(write_site_toml(SlopeModel()), "sim.toml")) == []


@tabulated(
    ("old", "new", "expected_parts"),
    [
        ("hits = 3", "hit = 3", ["criterion[0].dwell", "'hit'", "did you mean 'hits'"]),
        ("yellow = {over = 2.0", "yelow = {over = 2.0", ["criterion[0]", "did you mean 'yellow'"]),
        ('interval = "1h"', "interval = 1", ["station[0].series[0].interval", "'15m'"]),
        ('unit = "kPa"', 'unit = "furlong"', ["station[4].series[0].unit", "furlong"]),
        ('unit = "kPa"', 'unit = "mm"', ["station[4].series[0].unit", "kPa"]),
        ('unit = "kPa"', 'unit = "index"', ["criterion[2].series", "no threshold may use it"]),
        ("orange = {over = 20.0", "orange = {over = 1.0", ["criterion[0].orange.over", "at least 2"]),
        ('stations = ["G*"]', 'stations = ["X*"]', ["criterion[0].stations", "X*"]),
        ('stations = ["G*"]', 'stations = ["C*"]', ["criterion[0].stations", "control"]),
        ('id = "G2"', 'id = "G1"', ["station: id", "'G1' appears twice"]),
        ("latitude = 46.2\n", "latitude = 146.2\n", ["site.latitude", "90"]),
        ("latitude = 46.2\n", "latitude = nan\n", ["site.latitude", "finite"]),
        ('"Europe/Zurich"', '"Europe/Zurch"', ["site.timezone", "IANA"]),
        ('id = "north-bench"', 'id = "status"', ["site.id", "reserved"]),
        ('id = "north-bench"', 'id = "North"', ["site.id"]),
        ('kind = "level"', 'kind = "levl"', ["criterion[2].kind", "velocity"]),
        ('level = "yellow"', 'level = "purple"', ["criterion[3].level", "purple"]),
        ('levels = ["yellow", "orange", "red"]', 'levels = ["blue"]', ["recipient[0].levels", "blue"]),
        ('channels = ["log"]', 'channels = ["fax:1"]', ["recipient[0].channels[0]", "fax"]),
        ("[fusion]", "[fusion", ["not valid TOML", "line"]),
        ("[fusion]", f"x = {'[' * 3000}", ["not valid TOML", "nested too deeply"]),
        ("[fusion]", f"x = {'9' * 5000}", ["not valid TOML", "4300 digits"]),
        ('covariates = ["R1.rain"]', 'covariates = ["R2.rain"]', ["forecast.covariates", "R2"]),
        ("[levels.red]", "[levels.rod]", ["levels", "did you mean 'red'"]),
        ('max_silence = "12h"', 'max_silence = "12m"', ["station[4].series[0].max_silence"]),
    ],
)
def test_error_has_file_key_and_expectation_on_one_line(old, new, expected_parts):
    assert old in EXAMPLE
    line = read_error(EXAMPLE.replace(old, new, 1))
    for part in expected_parts:
        assert part in line


def test_forecast_rain_is_rejected_as_covariate():
    rain = '[[station.series]]\nquantity = "rain"'
    assert EXAMPLE.count(rain) == 1
    expected = '[[station.series]]\nquantity = "rain_next_24h"\nunit = "mm"\ninterval = "6h"\n' + rain
    text = EXAMPLE.replace(rain, expected).replace('["R1.rain"]', '["R1.rain", "R1.rain_next_24h"]')
    text += '\n[[quantity]]\nname = "rain_next_24h"\nunit = "mm"\nlow = 0.0\nhigh = 900.0\n'
    assert read_error(text).endswith('name it in forecast.expected_rain = {"24h" = "R1.rain_next_24h"}')


def test_units_are_converted_and_declared_quantity_has_its_range():
    text = EXAMPLE.replace('unit = "kPa"', 'unit = "bar"\nverify_step = 0.5\nlow = -1.0', 1)
    spec = parse_site(text, "x.toml").series("P1", "pore_pressure")
    assert (spec.unit, spec.verify_step, spec.low) == ("kPa", 50.0, -100.0)
    series = '[[station.series]]\nquantity = "temperature"\nunit = "K"\ninterval = "1h"\nnoise_floor = 0.5\n'
    spec = parse_site(EXAMPLE.replace("[[criterion]]", series + "[[criterion]]", 1), "x.toml").series(
        "R1", "temperature"
    )
    assert spec.noise_floor == pytest.approx(0.5)
    text = EXAMPLE.replace('quantity = "pore_pressure"\nunit = "kPa"', 'quantity = "radon"\nunit = "Bq/m3"').replace(
        '"P1.pore_pressure"', '"P1.radon"'
    )
    assert "did you mean" in read_error(text) or "radon" in read_error(text)
    site = parse_site(text + '\n[[quantity]]\nname = "radon"\nunit = "Bq/m3"\nlow = 0.0\nhigh = 1e5\n', "x.toml")
    assert site.quantities == (("radon", "Bq/m3"),)
    assert site.series("P1", "radon").high == 1e5


def test_shared_equipment_and_advice_do_not_count_for_top_level():
    text = EXAMPLE.replace('logger = "logger-5"', 'logger = "logger-3"')
    (weakness,) = find_weaknesses(parse_site(text, "x.toml"))
    assert "'red'" in weakness
    assert "E1, G1, G2" in weakness
    bridged = EXAMPLE.replace('logger = "logger-5"', 'logger = "logger-5"\nantenna = "A"').replace(
        'reference = "BASE"\nlogger = "logger-3"\n[[station.series]]',
        'reference = "BASE"\nlogger = "logger-3"\nantenna = "A"\n[[station.series]]',
        1,
    )
    assert find_weaknesses(parse_site(bridged, "x.toml"))
    anomaly = '\n[[criterion]]\nkind = "anomaly"\nstations = ["*"]\nlevel = "red"\n'
    site = parse_site(EXAMPLE + anomaly, "x.toml")
    assert site.criteria[-1].role == "advice"
    text = EXAMPLE.replace('red = {over = 50.0, window = "2h"}', "") + anomaly
    assert find_weaknesses(parse_site(text, "x.toml"))


def test_environment_overrides_service_file_and_errors_suggest_keys():
    config = parse_service("[web]\nport = 1\n", "s.toml", {"SLOPEWARD_WEB__PORT": "9000", "SLOPEWARD_DATA": "x"})
    assert config.web.port == 9000
    with pytest.raises(ConfigError, match=r"^environment SLOPEWARD_WEB__PORT: web\.port: .*integer"):
        parse_service("", "s.toml", {"SLOPEWARD_WEB__PORT": "many"})
    with pytest.raises(ConfigError, match=r"SLOPEWARD_WEB__PROT: unknown key 'prot'; did you mean 'port'"):
        parse_service("", "s.toml", {"SLOPEWARD_WEB__PROT": "1"})
    with pytest.raises(ConfigError, match=r"s\.toml: unknown key 'brokr'; did you mean 'broker'"):
        parse_service("[brokr]\n", "s.toml")
    with pytest.raises(ConfigError, match=r"^s\.toml: key 'ingest' was removed: .*; delete the section \[ingest\]$"):
        parse_service("[ingest]\nprocesses = 2\n", "s.toml")
    with pytest.raises(ConfigError, match=r"^environment SLOPEWARD_INGEST__PROCESSES: key 'ingest' was removed: "):
        parse_service("", "s.toml", {"SLOPEWARD_INGEST__PROCESSES": "2"})
    with pytest.raises(ValueError, match="frozen"):
        parse_service("", "s.toml").web.port = 1
    text = '[schedule]\nevaluate_tick = "5s"\n[broker]\nurl = "mqtts://h"\n[retention]\nobservations = "2d"\n'
    config = parse_service(text, "s.toml")
    assert config.schedule.evaluate_tick_s == 5.0
    assert (config.broker.host, config.broker.port, config.broker.tls) == ("h", 8883, True)
    assert (config.retention.observations_s, config.retention.forecasts_s) == (172800.0, 7776000.0)


@pytest.mark.parametrize(
    ("right", "wrong", "lines"),
    [
        ("max_silence =", "max_silense =", {f"{SERIES}: unknown key 'max_silense'; did you mean 'max_silence'?"}),
        ("[[station]]", "[[stations]]", {"unknown key 'stations'; did you mean 'station'?", TABLES}),
        ('"velocity"', '"velocty"', {"criterion[0].kind: unknown kind 'velocty'; did you mean 'velocity'?"}),
        ('channels = ["log"]', 'channels = "log"', {"recipient[0].channels: expected a list, got 'log'"}),
    ],
)
def test_typo_in_site_file_is_reported_once_with_correction(right, wrong, lines):
    text = write_first_site("s1")
    assert right in text
    with pytest.raises(ConfigError) as error:
        parse_site(text.replace(right, wrong), "x.toml")
    faults = [fault.removeprefix("x.toml: ").partition(" expected one")[0] for fault in error.value.faults]
    assert {re.sub(r"\[\d\]", "[0]", fault) for fault in faults} == lines


def test_secrets_are_only_read_from_environment_or_file(tmp_path):
    with pytest.raises(ConfigError, match=r"broker\.password.*SLOPEWARD_BROKER__PASSWORD"):
        parse_service('[broker]\npassword = "hunter2"\n', "s.toml")
    with pytest.raises(ConfigError, match="no password in the URL"):
        parse_service('[broker]\nurl = "mqtt://a:b@h"\n', "s.toml")
    (tmp_path / "pw").write_text("hunter2\n")
    config = parse_service(f'[broker]\npassword_file = "{tmp_path / "pw"}"\n', "s.toml")
    assert config.broker.password == "hunter2"
    assert "hunter2" not in repr(config)
    assert parse_service("", "s.toml", {"SLOPEWARD_BROKER__PASSWORD": "x"}).broker.password == "x"


@pytest.mark.parametrize("url", ["mysql://u:geheim@h/x", "postgresql:/u:geheim@h/x", "nonsense"])
def test_error_of_database_url_does_not_contain_password(url):
    with pytest.raises(ConfigError, match=r"database\.url: expected sqlite:///file or postgresql") as caught:
        parse_service(f'[database]\nurl = "{url}"\n', "s.toml")
    assert "geheim" not in str(caught.value)


def test_invalid_site_file_does_not_affect_others(tmp_path):
    (tmp_path / "a.toml").write_text(EXAMPLE)
    (tmp_path / "b.toml").write_text("nonsense")
    (tmp_path / "c.toml").write_text(EXAMPLE)
    sites, failures = scan_sites(tmp_path)
    assert [s.id for s in sites] == ["north-bench"]
    assert sorted(p.name for p in failures) == ["b.toml", "c.toml"]


def test_byte_order_mark_is_ignored(tmp_path):
    text = write_first_site("s1")
    (tmp_path / "s1.toml").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert read_text(tmp_path / "s1.toml") == text


@pytest.mark.parametrize(("latitude", "longitude", "is_far"), [(46.2, 8.9, 0), (8.9, 46.2, 1), (46.2, -8.9, 1)])
def test_station_far_from_site_is_warned_about(latitude, longitude, is_far):
    where = head("slope", latitude=46.2, longitude=8.9)
    site = parse_site(where + station("G1", series("tilt", "deg"), latitude=latitude, longitude=longitude), "x.toml")
    assert sum("check its latitude and longitude" in line for line in find_cautions(site)) == is_far


@pytest.mark.parametrize(
    ("zone", "longitude", "is_warned"),
    [
        ("Europe/Zurich", 8.9, 0),
        ("UTC", 120.0, 0),
        ("Asia/Tokyo", 8.9, 1),
        ("America/New_York", 8.9, 1),
        ("Etc/GMT+1", 8.9, 1),
        ("Etc/GMT-1", 8.9, 0),
        ("Etc/GMT+8", -121.0, 0),
        ("Etc/GMT-8", -121.0, 1),
        ("Asia/Shanghai", 75.9, 0),  # the same time from the Pamirs to the sea
        ("Europe/Madrid", -8.8, 0),
        ("America/Argentina/Mendoza", -72.0, 0),
        ("Pacific/Kiritimati", -157.4, 0),
        ("Pacific/Apia", -171.8, 0),
    ],
)
def test_time_zone_that_does_not_fit_longitude_is_warned_about(zone, longitude, is_warned):
    where = head("slope", latitude=20.0, longitude=longitude, timezone=zone)
    site = parse_site(where + station("G1", series("tilt", "deg")), "x.toml")
    assert sum("site.timezone" in line for line in find_cautions(site)) == is_warned


@pytest.mark.parametrize(
    ("names", "is_warned"),
    [
        (["green", "yellow", "orange", "red"], 0),
        (["green", "amber", "red"], 0),
        (["rest", "yellow", "alarm", "red"], 0),
        (["red", "yellow", "green"], 2),
        (["green", "orange", "yellow", "red"], 1),
    ],
)
def test_levels_in_falling_order_are_warned_about(names, is_warned):
    site = parse_site(head("slope", levels={"names": names}) + station("G1", series("tilt", "deg")), "x.toml")
    assert sum("from the lowest to the highest" in line for line in find_cautions(site)) == is_warned


@pytest.mark.parametrize(
    ("quantity", "unit", "kind", "is_warned"),
    [
        ("pore_pressure", "mH2O", "level", 1),
        ("pore_pressure", "kPa", "level", 0),
        ("crack_opening", "cm", "rate", 1),
        ("crack_opening", "mm", "rate", 0),
        ("displacement", "m", "velocity", 0),  # the reference documents mm/day
    ],
)
def test_bound_in_another_unit_than_series_is_warned_about(quantity, unit, kind, is_warned):
    window = {} if kind == "level" else {"window": "2d"}
    text = head("slope") + station("P1", series(quantity, unit), azimuth_deg=90.0)
    site = parse_site(text + criterion(kind, series=f"P1.{quantity}", yellow={"over": 5.0} | window), "x.toml")
    assert sum(f"P1.{quantity} is declared in {unit}" in line for line in find_cautions(site)) == is_warned


def test_pipe_or_device_among_site_files_is_rejected(tmp_path):
    (tmp_path / "good.toml").write_text(EXAMPLE)
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "zero.toml").symlink_to("/dev/zero")
    sites, failures = scan_sites(tmp_path)
    assert [site.id for site in sites] == ["north-bench"]
    assert [str(error) for error in failures.values()] == [
        f"{tmp_path}/{name}: cannot be read: it is a pipe or a device, not a file"
        for name in ("pipe.toml", "zero.toml")
    ]
