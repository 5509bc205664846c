"""A simulated slope moves from green to red. Pages, `slopeward status` and SQL agree at each step.

The slope creeps with drifting noise and failing instruments, then accelerates for days. One day after the end all
stations are silent. Such a record once showed the stage "creep" beside the level orange.
"""

import json
import logging
import re
import shlex
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from sqlalchemy import select

from monitor.alerts.audit.explain import explain, read_names
from monitor.alerts.evaluate import evaluate_site
from monitor.alerts.outbox_tables import notification
from monitor.cli.main import run_command
from monitor.delivery.notifiers import mail, webhook
from monitor.delivery.notifiers.log import LogNotifier
from monitor.delivery.queries.outbox import claim_due, load_due_channels
from monitor.features.movement.update import update_movement
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.sites.files import load_site
from monitor.sites.queries.sites import load_site_source, save_site
from monitor.storage.engine import Database
from monitor.storage.views import load_view
from monitor.text.instants import format_age, format_iso, parse_time
from monitor.text.message import format_span, plain_to_messages
from monitor.text.rendering import translate
from monitor.web.parts.templating import format_minute, format_number
from tests.data.figures import bare_figures, bare_figures_of_page
from tests.data.simulated_slope import SimulatedSlope
from tests.data.store_rows import tell
from tests.web.served import serving

END = datetime(2026, 3, 20, 12, tzinfo=UTC)
LOOKS_H = (36.0, 10.0, 3.0, 1.0, 0.5, 1 / 6, 0.0)  # times of the checks, hours before the end
MOVES = frozenset({"velocity", "rate"})


class Page(HTMLParser):
    """Texts of the rows of all tables and the entries of all lists of a page. Small print is stored separately."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.small: list[list[str]] = []
        self.facts: list[tuple[str, str]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self._cell: str | None = None
        self._fine = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag in {"small", "script", "style"}:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
            self.small.append([])
        if tag in {"td", "th", "dt", "dd"}:
            self._cell, self._fine = "", ""

    def handle_endtag(self, tag):
        if self._open and tag == self._open[-1]:
            self._open.pop()
        if tag in {"td", "th"} and self._cell is not None and self.rows:
            self.rows[-1].append(" ".join(self._cell.split()))
            self.small[-1].append(" ".join(self._fine.split()))
            self._cell = None
        if tag in {"dt", "dd"} and self._cell is not None:
            text = " ".join(self._cell.split())
            self.facts = [*self.facts, (text, "")] if tag == "dt" else [*self.facts[:-1], (self.facts[-1][0], text)]
            self._cell = None

    def handle_data(self, data):
        if self._open and self._open[-1] in {"script", "style"}:
            return
        self.text.append(data)
        if self._cell is not None and self._open:
            self._fine += data
        elif self._cell is not None:
            self._cell += data

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def list_voting_stations(decision):
    """Return the stations whose velocity requests a level above the lowest one."""
    words = decision.evidence["words"]
    return {w["station"] for w in words if w["raise_level"] > 0 and w["criterion"].split("-")[0] in MOVES}


def check_stages(c, slope, decision):
    """Check that no stage is "creep" and no trend is "none" if a velocity criterion of the station requests a level."""
    for station in list_voting_stations(decision):
        newest = load_view(c, "movement_history", order_by=["-at"], site=slope.site.id, station=station)[0]
        assert newest["stage"] not in {"creep", "unknown"}, newest
        assert newest["trend"] != "none", newest


def check_site(c, slope, page, decision):
    [status] = load_view(c, "site_status", site=slope.site.id)
    facts, top = dict(page.facts), len(slope.site.levels) - 1
    assert f"{status['level']} of {top}" in page.words
    assert status["level_name"] in page.words
    assert f"since {format_age(slope.now - parse_time(status['since']))}" in page.words
    for title, column in (("Newest reading", "newest_at"), ("Evaluated", "evaluated_at")):
        assert facts[title].startswith(format_age(slope.now - parse_time(status[column]))), title
    assert facts["Stage"].startswith(status["movement_stage"])
    health = {h["station"]: h for h in load_view(c, "station_health", site=slope.site.id)}
    voting = [h for h in health.values() if h["votes"]]
    if status["observability"] == "full":
        assert all(h["state"] == "ok" for h in voting), "the observability is full although a voting station is faulty"
        assert "all series that can raise a level give valid data" in page.words
    else:
        assert "all series that can raise a level give valid data" not in page.words
    rows = {row[0].split()[0]: (row, fine) for row, fine in zip(page.rows, page.small, strict=True) if len(row) == 6}
    judged = {m["station"] for m in load_view(c, "movement_history", site=slope.site.id)}
    assert judged <= set(rows)
    for row, fine in (rows[name] for name in judged):
        check_movement_row(c, slope, row, fine)
    for row in (r for r in page.rows if len(r) == 7 and r[0] in health):
        assert row[1] == health[row[0]]["state"]
        share = health[row[0]]["missing_share_24h"]
        assert row[3] == ("–" if share is None else f"{round(100 * share)} %")
        assert row[4] == ("yes" if health[row[0]]["votes"] else "no")
        latest = load_view(c, "latest_observation", site=slope.site.id, station=row[0])
        shown = [f"{format_number(one['value'], 4, one['unit'])} {one['unit']}" for one in latest]
        assert any(one in row[6] for one in shown), (row[6], shown)
    assert ("asks for more" not in page.words) or status["level"] == 0
    assert "(passed)" not in page.words
    for word in list_voting_stations(decision):
        assert word in page.words
    return status


def check_movement_row(c, slope, row, fine):
    """Check the row of one series: stage, velocity with its window, inverse velocity and failure window."""
    station = row[0].split()[0]
    quantity = fine[0].replace(" ", "_")
    newest = load_view(c, "movement_history", order_by=["-at"], site=slope.site.id, station=station, quantity=quantity)[
        0
    ]
    assert row[1] == f"{newest['stage']}, trend {newest['trend']}"
    assert row[2] == format_number(newest["velocity_mm_per_day"])
    if newest["velocity_mm_per_day"] is not None:
        error, window = format_number(newest["velocity_error_mm_per_day"], 2), format_span(newest["velocity_window_s"])
        assert fine[2] == f"± {error} in {window}"
        assert f"in {window}" in newest["reasons"] or "site file warns of" in newest["reasons"] or row[1][:4] == "prog"
    assert row[3] == format_number(newest["inverse_velocity_day_per_mm"])
    if row[3] != "–":
        assert float(row[2]) * float(row[3]) == pytest.approx(1.0, abs=0.02)
    windows = load_view(
        c, "failure_windows", order_by=["-data_until"], site=slope.site.id, station=station, quantity=quantity
    )
    standing = [w for w in windows if w["withdrawn_at"] is None]
    if not standing:
        assert row[4] == "none"
        return
    newest_window = standing[0]
    assert row[4] == f"{format_minute(newest_window['window_from'])} to {format_minute(newest_window['window_to'])}"
    assert newest_window["window_to"] > format_iso(slope.now), "an open failure window has not ended"
    if newest_window["window_mid"] <= format_iso(slope.now):
        assert "failure is possible at any time" in fine[4]


def check_alerts(c, slope, client, page):
    """Check the open alerts on the page of the site, and the events of the hazard on the page of its alert."""
    alerts = load_view(c, "active_alerts", order_by=["-level"], site=slope.site.id)
    for ledger in ("hazard", "health", "advice"):
        count = sum(a["ledger"] == ledger for a in alerts)
        assert re.search(rf"{ledger.title()} {count}\b", page.words), ledger
    [hazard] = [a for a in alerts if a["ledger"] == "hazard"]
    assert hazard["reason"] in page.words
    alert = Page(client.get(f"/alerts/{hazard['alert_id']}").text)
    assert hazard["reason"] in alert.words
    for event in load_view(c, "alert_events", order_by=["sequence"], alert_id=hazard["alert_id"]):
        assert event["reason"] in alert.words
        assert format_minute(event["at"]).removeprefix(f"{slope.now:%Y-%m-%d} ") in alert.words


def check_page_after_silence(slope):
    """Check that after a day without readings the page shows the last stage with its time and no present stage."""
    with slope.database.read() as c:
        moved = load_view(c, "movement_history", order_by=["-at"], site=slope.site.id, stage="progressive")
    spoke, now = moved[0]["data_until"], slope.now + timedelta(days=1)
    evaluate_site(slope.database, slope.site, now, "tick")
    update_movement(slope.database, slope.site, now)
    with serving(slope.database, now) as client:
        overview, site = Page(client.get("/").text), Page(client.get(f"/sites/{slope.site.id}").text)
    judged = {row[1].split(",")[0] for row in site.rows if len(row) == 6 and row[0] != "Station"}
    assert judged == {"unknown"}, "no station has a present stage"
    missing = {row[3] for row in site.rows if len(row) == 7 and row[0] != "Station"}
    assert missing == {"100 %", "–"}, "each measuring station misses all readings of the day"
    for page in (overview, site):
        assert dict(page.facts)["Stage"] == f"progressive, last seen {format_minute(spoke)}"
        assert (
            "from the stations behind this level, or from those that can raise a level: decide by other means"
            in page.words
        )
        assert "of the worst station" not in page.words


def read_messages(database, now, caplog):
    """Return the text of every waiting message as each kind of channel sends it."""
    with database.write() as c:
        waiting = [n for channel in load_due_channels(c, now) for n in claim_due(c, now, "test", 30.0, 100, channel)]
    # The mqtt channel sends the same payload as the webhook.
    texts = [json.loads(webhook.payload(n)) for n in waiting]
    with caplog.at_level(logging.WARNING):
        for n in waiting:
            LogNotifier("desk", {}).deliver(n)
    lines = [r.getMessage() for r in caplog.records if r.name == "slopeward.notification"]
    return [
        *(text[key] for text in texts for key in ("subject", "body")),
        *lines,
        *(mail.compose(n, "s@x", "a@b.org").get_content().replace("\n-- \n", "\n") for n in waiting),
    ]


def read_pages(client, site):
    """Return the text of every page about the slope by its path."""
    alerts = client.get("/api/v1/alerts").json()
    paths = ["/", "/alerts", "/notifications", *(f"/alerts/{a['alert_id']}" for a in alerts)]
    paths += [f"/sites/{site}{page}" for page in ("", "/movement", "/forecasts")]
    return {path: client.get(path).raise_for_status().text for path in paths}


def check_units(slope, status_line, caplog):
    """Check that every number in messages, pages and `slopeward status` has a unit or a counted noun."""
    messages = read_messages(slope.database, slope.now, caplog)
    assert any("velocity" in text for text in messages)
    with serving(slope.database, slope.now) as client:
        pages = read_pages(client, slope.site.id)
    with slope.database.read() as c:
        source = load_site_source(c, slope.site.version)
        frozen = c.exec_driver_sql("SELECT evidence FROM decision").scalars().all()
        rows = [*load_view(c, "movement_history"), *load_view(c, "failure_windows")]
    texts_by_source = {"messages": messages, "status": [status_line], "movement": [row["reasons"] for row in rows]}
    texts_by_source["explain"] = [line for text in frozen for line in explain(json.loads(text), read_names(source))]
    figures = {source: [b for text in texts for b in bare_figures(text)] for source, texts in texts_by_source.items()}
    figures |= {path: bare_figures_of_page(page) for path, page in pages.items()}
    assert not any(figures.values()), {source: bare for source, bare in figures.items() if bare}


def check_languages(slope):
    """Check that stored sentences are translated without a change of any figure.

    A text without a translation appears in English, so at least half of the texts must be translated.
    """
    with slope.database.read() as c:
        texts = {r["reason"] for r in load_view(c, "alert_history", site=slope.site.id)}
        texts |= {r["reasons"] for r in load_view(c, "movement_history", site=slope.site.id)}
        texts |= {h["reason"] for h in load_view(c, "station_health", site=slope.site.id)} - {None}
        rows = [plain_to_messages(row) for row in c.execute(select(notification)).mappings()]
    lines = [line for row in rows for line in row["body"].values["parts"].items]
    texts |= {line for line in lines if not line.startswith("Action: ")}
    assert len(texts) > 10
    english = re.compile(r"\b(the|of|with|over|in|is|no|and|needed|data|since|not|by)\b")
    translated = [text for text in texts if not english.search(translate(text, "zh"))]
    assert len(translated) > len(texts) / 2
    for text in texts:
        for language in ("it", "zh", "es"):
            figures = re.findall(r"(?<![\w.])\d+(?:\.\d+)?", text)
            assert sorted(re.findall(r"(?<![\w.])\d+(?:\.\d+)?", translate(text, language))) == sorted(figures), text


def check_status_command(status, database, tmp_path, capsys):
    """Check `slopeward status` against the row of SQL. Return its output, with a name after the number of alerts."""
    service = tmp_path / "slopeward.toml"
    service.write_text(f'[database]\nurl = "{database.url.render_as_string(hide_password=False)}"\n', encoding="utf-8")
    capsys.readouterr()
    run_command(["status", "--config", str(service)])
    shown = capsys.readouterr().out
    [line] = [text for text in shown.splitlines() if text.startswith(status["site"])]
    cells = re.split(r"\s{2,}", line.strip())
    assert cells[1] == status["level_name"]
    assert cells[3].startswith(f"nothing now ({status['observability']} "), "no core runs in this test"
    movement = ", ".join(dict.fromkeys((status["movement_stage"], status["trend"])))
    assert (cells[4], cells[-1]) == (movement, str(status["active_alerts"]))
    return shown.replace(line, f"{line.rstrip()} open alerts")


def test_pages_status_and_sql_agree_from_green_to_red(database, tmp_path, capsys, caplog):
    slope = SimulatedSlope(database, END)
    states = []
    for before_h in LOOKS_H:
        result = slope.store_until(END - timedelta(hours=before_h))
        with serving(database, slope.now) as client, database.read() as c:
            overview = Page(client.get("/").text)
            page = Page(client.get(f"/sites/{slope.site.id}").text)
            check_stages(c, slope, result.decision)
            status = check_site(c, slope, page, result.decision)
            if before_h == 0.0:
                check_alerts(c, slope, client, page)
        facts = dict(overview.facts)
        assert facts["Stage"].startswith(status["movement_stage"])
        assert facts["Open alerts"].split()[0] == str(status["active_alerts"])
        assert f"{status['unacknowledged']} not acknowledged" in overview.words or not status["unacknowledged"]
        assert status["level_name"] in overview.words
        assert status["level"] == result.level
        states.append((before_h, status["level_name"], status["movement_stage"], status["trend"]))
    print(states)
    check_units(slope, check_status_command(status, database, tmp_path, capsys), caplog)
    check_languages(slope)
    assert states[0][1] == "green"
    assert states[-1][1:] == ("red", "progressive", "progressive"), states
    check_page_after_silence(slope)


PRINTED = Path(__file__).parents[2] / "docs/tutorial/first-slope.md"


def evaluate_before_and_after_a_jump(folder: Path) -> None:
    """Raise the alert of the tutorial, store the jump and open the question about it, as the service does."""
    site = load_site(folder / "configs/sites/first-slope.toml")
    now = datetime.now(UTC)
    with Database(f"sqlite:///{folder}/slopeward.db") as database:
        tell(database, save_site, site, "test", "test", now)
        evaluate_site(database, site, now, "data")
        jump = Observation("first-slope", "E1", "crack_opening", "mm", now, now, 70.0)
        tell(database, add_observations, [jump], now)
        evaluate_site(database, site, now + timedelta(seconds=1), "data")


@pytest.mark.soak
def test_commands_of_the_tutorial_work(tmp_path, monkeypatch, capsys):
    """The commands run as printed and in order. The test does what the service would do, and enters no passwords."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLOPEWARD_USER_PASSWORD", "korrekt-pferd-9")
    monkeypatch.setenv("SLOPEWARD_BY_PASSWORD", "korrekt-pferd-9")
    blocks = re.findall(r"```\n(.*?)```", PRINTED.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines()]
    typed = [shlex.split(line)[1:] for line in lines if line.startswith("slopeward ") and line != "slopeward run"]
    assert len(typed) == 20
    outputs = {}
    for words in typed:
        if words[:2] == ["alerts", "verify"]:
            evaluate_before_and_after_a_jump(tmp_path)
        expected = 3 if words[:2] == ["level", "set"] and "ada" in words else 0
        assert run_command(words) == expected, (words, capsys.readouterr())
        outputs[" ".join(words)] = capsys.readouterr().out
    assert run_command(["ingest", "readings.csv", "--site", "first-slope"]) == 0
    assert "0 stored, 2886 known before" in capsys.readouterr().out
    assert outputs["evaluate first-slope --dry-run"].startswith("orange | sees: full | reachable: red")
    assert "equal bit for bit" in outputs["alerts explain 1 --recompute"]
    assert "password: " in outputs["broker add first-slope/E1 --by ada"]
    with Database(f"sqlite:///{tmp_path}/slopeward.db") as database, database.read() as c:
        shown = c.exec_driver_sql("SELECT count(*) > 3, min(horizon_s) FROM latest_forecast WHERE shown").one()
        assert shown == (1, 86400.0)
        withheld = c.exec_driver_sql("SELECT DISTINCT reason FROM forecast_withheld").scalars()
        assert not [reason for reason in withheld if "older than" in reason]
