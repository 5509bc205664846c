"""A simulated slope, read as its instruments send it, walked to red; pages, status and SQL say one thing at each look.

The slope creeps, noise wanders, instruments fail, and the acceleration is days old: what once read as "creep" beside an
orange level. A day later all is silent."""

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
LOOKS_H = (36.0, 10.0, 3.0, 1.0, 0.5, 1 / 6, 0.0)  # hours before the end
MOVES = frozenset({"velocity", "rate"})


class Page(HTMLParser):
    """The rows of all tables, and the facts of all lists, as texts; what is small print stands apart."""

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
            said = " ".join(self._cell.split())
            self.facts = [*self.facts, (said, "")] if tag == "dt" else [*self.facts[:-1], (self.facts[-1][0], said)]
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


def votes_of(decision):
    """Stations whose velocity asks for a level above the lowest now."""
    words = decision.evidence["words"]
    return {w["station"] for w in words if w["raise_level"] > 0 and w["criterion"].split("-")[0] in MOVES}


def check_stages(c, slope, decision):
    """No stage says creep, or no trend, where a velocity criterion of the same station asks for a level."""
    for station in votes_of(decision):
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
        assert all(h["state"] == "ok" for h in voting), "everything is seen, and somebody who votes is sick"
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
    for word in votes_of(decision):
        assert word in page.words
    return status


def check_movement_row(c, slope, row, fine):
    """The row of one series: stage, velocity with its window, its inverse, the failure window."""
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
    assert newest_window["window_to"] > format_iso(slope.now), "a window that stands has not ended"
    if newest_window["window_mid"] <= format_iso(slope.now):
        assert "failure is possible at any time" in fine[4]


def check_alerts(c, slope, client, page):
    """The open alerts of the page of the site by ledger, and the whole story of the hazard on the page of its alert."""
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


def check_silence(slope):
    """A day later nothing has come: the head says what was seen last and when, and not what is so now."""
    with slope.database.read() as c:
        moved = load_view(c, "movement_history", order_by=["-at"], site=slope.site.id, stage="progressive")
    spoke, now = moved[0]["data_until"], slope.now + timedelta(days=1)
    evaluate_site(slope.database, slope.site, now, "tick")
    update_movement(slope.database, slope.site, now)
    with serving(slope.database, now) as client:
        overview, site = Page(client.get("/").text), Page(client.get(f"/sites/{slope.site.id}").text)
    judged = {row[1].split(",")[0] for row in site.rows if len(row) == 6 and row[0] != "Station"}
    assert judged == {"unknown"}, "nobody shows a stage"
    missing = {row[3] for row in site.rows if len(row) == 7 and row[0] != "Station"}
    assert missing == {"100 %", "–"}, "all of a day, of each station that is to measure"
    for page in (overview, site):
        assert dict(page.facts)["Stage"] == f"progressive, last seen {format_minute(spoke)}"
        assert (
            "from the stations behind this level, or from those that can raise a level: decide by other means"
            in page.words
        )
        assert "of the worst station" not in page.words


def read_messages(database, now, caplog):
    """What each kind of channel sends of every message that waits, as the recipient gets it."""
    with database.write() as c:
        waiting = [n for channel in load_due_channels(c, now) for n in claim_due(c, now, "test", 30.0, 100, channel)]
    texts = [json.loads(webhook.payload(n)) for n in waiting]  # the mqtt channel sends the same
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
    """Every page that shows the slope, by its path."""
    alerts = client.get("/api/v1/alerts").json()
    paths = ["/", "/alerts", "/notifications", *(f"/alerts/{a['alert_id']}" for a in alerts)]
    paths += [f"/sites/{site}{page}" for page in ("", "/movement", "/forecasts")]
    return {path: client.get(path).raise_for_status().text for path in paths}


def check_units(slope, status_line, caplog):
    """No number of a message, a page or `slopeward status` stands without its unit or what it counts."""
    messages = read_messages(slope.database, slope.now, caplog)
    assert any("velocity" in text for text in messages)
    with serving(slope.database, slope.now) as client:
        pages = read_pages(client, slope.site.id)
    with slope.database.read() as c:
        source = load_site_source(c, slope.site.version)
        frozen = c.exec_driver_sql("SELECT evidence FROM decision").scalars().all()
        rows = [*load_view(c, "movement_history"), *load_view(c, "failure_windows")]
    told = {"messages": messages, "status": [status_line], "movement": [row["reasons"] for row in rows]}
    told["explain"] = [line for text in frozen for line in explain(json.loads(text), read_names(source))]
    found = {room: [b for text in texts for b in bare_figures(text)] for room, texts in told.items()}
    found |= {path: bare_figures_of_page(page) for path, page in pages.items()}
    assert not any(found.values()), {room: bare for room, bare in found.items() if bare}


def check_languages(slope):
    """The sentences that the story stored are recognised in another language, and no figure changes.

    A text without a translation appears in English, so not all of them have to be.
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
    """`slopeward status` prints the row of SQL; returns what it said, its count of alerts with the column's name."""
    service = tmp_path / "slopeward.toml"
    service.write_text(f'[database]\nurl = "{database.url.render_as_string(hide_password=False)}"\n', encoding="utf-8")
    capsys.readouterr()
    run_command(["status", "--config", str(service)])
    shown = capsys.readouterr().out
    [line] = [text for text in shown.splitlines() if text.startswith(status["site"])]
    said = re.split(r"\s{2,}", line.strip())
    assert said[1] == status["level_name"]
    assert said[3].startswith(f"nothing now ({status['observability']} "), "no core runs in this test"
    movement = ", ".join(dict.fromkeys((status["movement_stage"], status["trend"])))
    assert (said[4], said[-1]) == (movement, str(status["active_alerts"]))
    return shown.replace(line, f"{line.rstrip()} open alerts")


def test_a_simulated_slope_is_told_the_same_everywhere_from_creep_to_red(database, tmp_path, capsys, caplog):
    slope = SimulatedSlope(database, END)
    seen = []
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
        seen.append((before_h, status["level_name"], status["movement_stage"], status["trend"]))
    print(seen)
    check_units(slope, check_status_command(status, database, tmp_path, capsys), caplog)
    check_languages(slope)
    assert seen[0][1] == "green"
    assert seen[-1][1:] == ("red", "progressive", "progressive"), seen
    check_silence(slope)


PRINTED = Path(__file__).parents[2] / "docs/tutorial/first-slope.md"


def evaluate_before_and_after_a_jump(folder: Path) -> None:
    """Do what the service does in the tutorial: raise the alert, store the reading of the jump, ask what it was."""
    site = load_site(folder / "configs/sites/first-slope.toml")
    now = datetime.now(UTC)
    with Database(f"sqlite:///{folder}/slopeward.db") as database:
        tell(database, save_site, site, "test", "test", now)
        evaluate_site(database, site, now, "data")
        jump = Observation("first-slope", "E1", "crack_opening", "mm", now, now, 70.0)
        tell(database, add_observations, [jump], now)
        evaluate_site(database, site, now + timedelta(seconds=1), "data")


@pytest.mark.soak
def test_every_command_of_the_tutorial_does_what_it_says(tmp_path, monkeypatch, capsys):
    """The commands run as printed and in order. The test does what the service would do, and enters no passwords."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLOPEWARD_USER_PASSWORD", "korrekt-pferd-9")
    monkeypatch.setenv("SLOPEWARD_BY_PASSWORD", "korrekt-pferd-9")
    blocks = re.findall(r"```\n(.*?)```", PRINTED.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines()]
    typed = [shlex.split(line)[1:] for line in lines if line.startswith("slopeward ") and line != "slopeward run"]
    assert len(typed) == 20
    said = {}
    for words in typed:
        if words[:2] == ["alerts", "verify"]:
            evaluate_before_and_after_a_jump(tmp_path)
        expected = 3 if words[:2] == ["level", "set"] and "ada" in words else 0
        assert run_command(words) == expected, (words, capsys.readouterr())
        said[" ".join(words)] = capsys.readouterr().out
    assert run_command(["ingest", "readings.csv", "--site", "first-slope"]) == 0
    assert "0 stored, 2886 known before" in capsys.readouterr().out
    assert said["evaluate first-slope --dry-run"].startswith("orange | sees: full | reachable: red")
    assert "equal bit for bit" in said["alerts explain 1 --recompute"]
    assert "password: " in said["broker add first-slope/E1 --by ada"]
    with Database(f"sqlite:///{tmp_path}/slopeward.db") as database, database.read() as c:
        shown = c.exec_driver_sql("SELECT count(*) > 3, min(horizon_s) FROM latest_forecast WHERE shown").one()
        assert shown == (1, 86400.0)
        withheld = c.exec_driver_sql("SELECT DISTINCT reason FROM forecast_withheld").scalars()
        assert not [reason for reason in withheld if "older than" in reason]
