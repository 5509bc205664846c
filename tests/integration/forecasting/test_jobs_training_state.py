"""A training that was cut off is taken up on the readings it began with; one that answered leaves nothing behind."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from monitor.config.service import ServiceConfig, parse_site
from monitor.domain.alert import SERVICE
from monitor.domain.observation import Observation
from monitor.errors import JobError
from monitor.jobs.forecasts import training_state
from monitor.jobs.forecasts.tasks import TrainingAnswer
from monitor.jobs.forecasts.train import train_one
from monitor.store.alerting.sites import save_site
from monitor.store.models.registry import add_model
from monitor.store.readings.observations import add_observations
from monitor.worker import compute

START = datetime(2025, 1, 1, tzinfo=UTC)
NOW = START + timedelta(days=300, hours=1)
SITE = """
[site]
id = "cut"
name = "Cut"
latitude = 46.2
longitude = 8.9
timezone = "UTC"
[levels]
names = ["green", "red"]
[forecast]
models = ["gru"]
horizons = ["1d"]
[[station]]
id = "G1"
[[station.series]]
quantity = "displacement"
unit = "mm"
interval = "1d"
max_silence = "3d"
"""


def add_days(database, first, last):
    with database.write() as c:
        rows = [
            Observation("cut", "G1", "displacement", "mm", at, at + timedelta(minutes=1), 0.1 * day)
            for day in range(first, last)
            for at in (START + timedelta(days=day),)
        ]
        add_observations(c, rows, START + timedelta(days=last - 1, hours=1))


@pytest.fixture
def asked(database, monkeypatch):
    """What the worker is asked, and a word that says whether it is killed."""
    questions, killed = [], [True]

    def run(_task, question, *_args, **_kwargs):
        questions.append(question)
        if killed[0]:
            raise JobError("killed at its limit")
        return TrainingAnswer(refused="too little")

    monkeypatch.setattr(compute, "run", run)
    with database.write() as c:
        save_site(c, parse_site(SITE, "cut.toml"), "test", "test", START)
    add_days(database, 0, 301)
    return questions, killed


def test_it_is_taken_up_within_a_day(database, tmp_path, asked):
    questions, killed = asked
    site = parse_site(SITE, "cut.toml")
    config = ServiceConfig.model_validate({"paths": {"models": str(tmp_path)}})
    with pytest.raises(JobError):
        train_one(database, config, site, "forecast", "gru", NOW)
    add_days(database, 301, 303)
    with pytest.raises(JobError):
        train_one(database, config, site, "forecast", "gru", NOW + timedelta(hours=20))
    assert questions[1] == questions[0]
    with pytest.raises(JobError):
        train_one(database, config, site, "forecast", "gru", NOW + timedelta(hours=20), seed=8)
    assert questions[2].training.created_at != questions[0].training.created_at
    killed[0] = False
    assert train_one(database, config, site, "forecast", "gru", NOW + timedelta(hours=49)) == "too little"
    assert len(questions[3].record.samples["G1.displacement"][1]) == 303
    assert [p.name for p in (tmp_path / "cut").iterdir()] == ["unfinished-forecast-gru-8"]


def test_a_moment_that_cannot_be_read_is_now(tmp_path):
    work = tmp_path / "work"
    assert training_state.take_up(work, NOW) == NOW
    (work / "moment").write_text("nonsense")
    (work / "x.training").write_text("old")
    assert training_state.take_up(work, NOW + timedelta(hours=1)) == NOW + timedelta(hours=1)
    assert [p.name for p in work.iterdir()] == ["moment"]
    training_state.finish(work)
    training_state.finish(work)
    assert not work.exists()


def test_a_training_is_told_where_to_begin_and_what_to_learn_beside(database, tmp_path, asked):
    questions, killed = asked
    killed[0] = False
    config = ServiceConfig.model_validate({"paths": {"models": str(tmp_path)}})
    forecast = 'models = ["gru", "pretrained-lstm"]\nstart_from = "old"\nreplay = ["cut", "nowhere"]'
    text = SITE.replace('models = ["gru"]', forecast).replace('"cut"\nname', '"young"\nname')
    young = parse_site(text, "young.toml")
    with database.write() as c:
        save_site(c, young, "test", "test", START)
        rows = [
            Observation("young", "G1", "displacement", "mm", at, at + timedelta(minutes=1), 0.2 * day)
            for day in range(250, 300)
            for at in (START + timedelta(days=day),)
        ]
        add_observations(c, rows, NOW)
    assert (
        train_one(database, config, young, "forecast", "gru", NOW) == "old has no gru of these horizons to start from"
    )
    assert not questions
    with database.write() as c:
        for age, kind in ((2, "gru"), (1, "lstm")):
            add_model(
                c, f"{age}" * 64, kind=kind, task="forecast", site="old", path=f"/models/{kind}.safetensors",
                card={"config": {"horizons_s": [86400.0]}},
                now=NOW - timedelta(days=age), reason="test", actor=SERVICE,
            )  # fmt: skip
    assert train_one(database, config, young, "forecast", "gru", NOW) == "too little"
    assert questions[-1].training.start == Path("/models/gru.safetensors")
    assert not questions[-1].training.own_start
    assert [list(one.samples) for one in questions[-1].replay] == [["G1.displacement"]]
    assert len(questions[-1].replay[0].samples["G1.displacement"][1]) == 301
    # shipped weights begin nowhere else; another site's record is replayed all the same
    assert train_one(database, config, young, "forecast", "pretrained-lstm", NOW) == "too little"
    assert questions[-1].training.start is None
    assert len(questions[-1].replay) == 1
    # the site itself: what looks the most horizons ahead, before what is newer
    own = replace(young, forecast=replace(young.forecast, start_from="young", horizons_s=(86400.0, 172800.0)))
    with database.write() as c:
        for age, horizons_s in ((3, [86400.0, 172800.0]), (2, [86400.0])):
            add_model(
                c, f"{age}e" * 32, kind="gru", task="forecast", site="young", actor=SERVICE, reason="test",
                path=f"/models/{len(horizons_s)}.safetensors", card={"config": {"horizons_s": horizons_s}},
                now=NOW - timedelta(days=age),
            )  # fmt: skip
    assert train_one(database, config, own, "forecast", "gru", NOW) == "too little"
    assert questions[-1].training.start == Path("/models/2.safetensors")
    assert questions[-1].training.own_start
