"""What is lacking to a site begins when its readings allow it; what that costs is bounded."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from monitor.cli.main import run_command
from monitor.features.forecasts import run
from monitor.models import first_runs
from monitor.models.first_runs import FirstRuns
from monitor.models.lacking import AwaitedModel, LackingModels, find_lacking
from monitor.models.queries.registry import add_model, change_state, find_model
from monitor.settings.service import ServiceConfig
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.storage.actor import SERVICE_ACTOR
from monitor.storage.engine import Database
from monitor.text.instants import format_iso
from monitor.worker import compute
from tests.data.crossing import cross
from tests.data.store_rows import tell
from tests.data.watched_slope import write_service
from tests.features.forecasts import test_cadences
from tests.features.forecasts.test_cadences import DAY, END, GNSS, HOUR, SLOW, declare, fill, spell_site

NOW = END + timedelta(minutes=5)


class Clocked:
    """First runs of one site on a clock of its own, with what they hastened and asked."""

    def __init__(self, database: Database, site) -> None:
        self.second, self.hastened, self.asked, self.site = 0.0, list[str](), list[str](), site
        real = database.run_read

        def ask(what, *words):
            self.asked.append(what.__name__)
            return real(what, *words)

        database.run_read = ask  # type: ignore[method-assign]
        self.runs = FirstRuns(
            database, {site.id: site}, lambda name, _: self.hastened.append(name), lambda: NOW, lambda: self.second
        )

    def after(self, seconds: float, *, marked: bool = False) -> set[str]:
        """What a look so much later hastens."""
        self.second += seconds
        self.hastened.clear()
        self.asked.clear()
        if marked:
            self.runs.mark(frozenset([self.site.id]))
        self.runs.check()
        return set(self.hastened)


def declare_first(database: Database, models=("gru",), intervals_s=GNSS):
    site = declare("first", intervals_s, models=models)
    site = replace(site, anomaly=replace(site.anomaly, detectors=("rules",)))
    tell(database, save_site, site, "test", "test", END)
    return site


@pytest.mark.soak
def test_readings_hasten_what_they_are_enough_for(database: Database, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(compute, "run", cross)
    site = declare_first(database)
    one = Clocked(database, site)
    assert one.after(0.0) == set(), "there is no reading"
    fill(database, site, {HOUR: 24 * 2})
    assert one.after(1.0, marked=True) == set(), "two looks are ten seconds apart"
    assert one.after(10.0) == set(), "it may be the beginning of an import"
    assert one.after(10.0) == {"train-detectors"}, "rules are tried from 30 rows on; a forecast needs 24 of 6 h"
    with database.read() as c:
        awaited = {x.what: x for x in find_lacking(c, site, NOW).awaited}
    counted = {what: (x.rows, x.needed) for what, x in awaited.items()}
    assert counted == {"forecast": (9, 24), "gru": (9, 200), "rules": (48, 0)}
    assert awaited["gru"].at == END - timedelta(hours=47) + timedelta(hours=199 * 6 - 3), (
        "the first reading in the cell"
    )
    assert awaited["gru"].describe() == (
        "it has 9 of 200 rows of 6 h that it needs, from displacement downslope read every 1 h; if readings "
        "continue, it has all of them on 2026-04-17 22:00 UTC"
    )
    fill(database, site, {HOUR: 24 * 30})
    assert one.after(60.0, marked=True) == {"forecast"}, "120 rows"
    assert one.after(10.0) >= {"train-detectors"}, "rules are tried again when the record stands"
    config = ServiceConfig.model_validate({"paths": {"models": str(tmp_path), "inbox": str(tmp_path)}})
    run.run(database, config, site, NOW)
    fill(database, site, {HOUR: 24 * 60})
    one.after(1000.0)
    fill(database, site, {HOUR: 24 * 70})
    assert one.after(10.0) == set(), "the import goes on"
    assert one.after(10.0) == {"train", "train-detectors"}, "240 rows"
    assert one.after(400.0) == set(), "tried already"
    with database.write() as c:
        for kind, task in (("gru", "forecast"), ("rules", "anomaly")):
            add_model(c, kind[0] * 64, kind=kind, task=task, site=site.id, path="x", card={}, now=NOW, reason="test")
    assert one.after(400.0) == {"anomaly", "forecast"}, "what was trained is asked at once"
    assert one.after(10_000.0, marked=True) == set()
    assert one.asked == [], "nothing is lacking: nobody looks any more"
    other = Clocked(database, replace(site, forecast=replace(site.forecast, models=("gru", "lstm"))))
    assert [other.after(0.0), other.after(10.0)] == [set(), {"train"}], "another site file comes with another core"


def add_trained(database: Database, site, kind: str, task: str) -> None:
    """Register a model as a training does."""
    facts = {"kind": kind, "task": task, "site": site.id, "path": "x", "card": {}, "now": NOW, "reason": "test"}
    with database.write() as c:
        model_hash = f"{kind:0<64}"
        add_model(c, model_hash, **facts)
        if task == "anomaly":
            change_state(c, find_model(c, model_hash), "active", "test", SERVICE_ACTOR, NOW)


def test_jobs_run_once_after_all_their_models_are_trained(database: Database) -> None:
    site = declare_first(database, models=("gru", "lstm"))
    site = replace(site, anomaly=replace(site.anomaly, detectors=("rules", "persistence-z")))
    fill(database, site, {HOUR: 24 * 60})
    one = Clocked(database, site)
    assert one.after(0.0) == {"forecast"}, "240 rows"
    assert one.after(10.0) == {"train", "train-detectors"}
    trained = [("rules", "anomaly"), ("gru", "forecast"), ("persistence-z", "anomaly"), ("lstm", "forecast")]
    jobs = []
    for kind, task in trained:
        assert one.after(first_runs.TRAINING_S) == set()
        add_trained(database, site, kind, task)
        jobs.append(one.after(first_runs.TRAINING_S))
    assert jobs == [set(), set(), {"anomaly"}, {"forecast"}]


def test_a_training_that_takes_too_long_does_not_hold_up_what_was_trained(database: Database) -> None:
    site = declare_first(database, models=("gru", "lstm"))
    site = replace(site, anomaly=replace(site.anomaly, detectors=()))
    fill(database, site, {HOUR: 24 * 60})
    one = Clocked(database, site)
    one.after(0.0)
    assert one.after(10.0) == {"train"}
    add_trained(database, site, "gru", "forecast")
    assert one.after(first_runs.TRAINING_S) == set(), "lstm is being trained"
    assert one.after(first_runs.TRAINED_S) == {"forecast"}
    assert one.after(first_runs.LATER_S) == set()


def test_a_growing_record_without_forecast_is_not_tried_at_every_check(database: Database) -> None:
    """Each attempt issues the forecasts of all series of the site."""
    site = declare("first", GNSS)
    rows = [0]

    def read(query, *_):
        if query.__name__ == "load_newest_receptions":
            return {1: END + timedelta(hours=rows[0])}
        waiting = AwaitedModel(
            "forecast", "forecast", "forecast", "forecast", "displacement", False, HOUR, 6 * HOUR, rows[0], 25
        )
        return LackingModels((waiting,), frozenset({1}), frozenset({1}))

    one = Clocked(database, site)
    database.run_read = read  # type: ignore[method-assign]
    tried = []
    for count in range(20, 101):
        rows[0] = count
        if one.after(10.0, marked=True) == {"forecast"}:
            tried.append(count)
    assert tried == [25, 32, 41, 52, 66, 83]


def test_status_and_forecast_models_say_the_same_of_what_is_awaited(database, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(test_cadences, "END", datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5))
    text = spell_site("first", GNSS | SLOW, models=("gru",)) + '[anomaly]\ndetectors = ["ae"]\n'
    config = write_service(tmp_path, database, text)
    fill(database, parse_site(text, "first.toml"), {HOUR: 48, 6 * DAY: 30, 7 * DAY: 30})

    def call(*words: str) -> str:
        run_command([*words, "--config", str(config)])
        return capsys.readouterr().out

    told = json.loads(call("status", "--json"))["awaited"]
    assert {one["site"] for one in told} == {"first"}
    kinds = {(one["kind"], one["task"]) for one in told}
    assert kinds == {("forecast", "forecast"), ("gru", "forecast"), ("ae", "anomaly")}
    rows = {
        "it has 9 of 200 rows of 6 h that it needs, from displacement downslope read every 1 h",
        "it has 30 of 200 rows of 7 d that it needs, from crack opening, displacement los read every 7 d",
    }
    assert {one["reason"].partition("; if readings continue")[0] for one in told if one["kind"] == "gru"} == rows
    assert all(one["at"] > format_iso(test_cadences.END) for one in told if one["kind"] == "gru")
    listed = [json.loads(line) for line in call("forecast", "models", "--json").splitlines()]
    for one in (*told, *listed):  # the two are asked at two instants
        one["at"], one["reason"], one["reason_values"] = (
            bool(one["at"]),
            one["reason"].partition("; if readings")[0],
            None,
        )
    assert told == listed
    line = 'first: the network "gru" is not available yet: it has 9 of 200 rows of 6 h that it needs'
    assert line in call("status")


def test_a_look_that_finds_nothing_new_asks_once(database: Database, monkeypatch) -> None:
    """Also where readings of other series come all the time."""
    site = declare_first(database, intervals_s=GNSS | SLOW)
    one = Clocked(database, site)
    fill(database, site, {HOUR: 30, 6 * DAY: 3, 7 * DAY: 3})
    one.after(0.0)
    assert (one.asked, one.after(10.0)) == (["load_newest_receptions", "find_lacking"], {"train-detectors"})
    one.after(first_runs.TRAINED_S + 300.0)  # rules were tried
    for _ in range(5):
        one.after(30.0, marked=True)
        assert one.asked == ["load_newest_receptions"]
    one.after(first_runs.SOON_S / 2, marked=True)
    assert one.asked == []


def test_a_thousand_sites_that_lack_nothing_cost_nothing(database: Database) -> None:
    site, asked = declare("first", GNSS), []

    def ask(what, *_):
        asked.append(what)
        return {} if what.__name__ == "load_newest_receptions" else LackingModels(())

    database.run_read = ask  # type: ignore[method-assign]
    sites = frozenset(f"s{k}" for k in range(1000))
    runs = FirstRuns(database, dict.fromkeys(sites, site), lambda *_: None, lambda: NOW)
    for _ in range(50):
        runs.check()
    assert len(asked) == 2 * len(sites)
    runs.mark(sites)
    runs.check()
    assert len(asked) == 2 * len(sites)
