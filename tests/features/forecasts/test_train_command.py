"""`slopeward forecast train`: what it prints about a checkpoint, and about a record that is too short."""

import json
from contextlib import closing
from dataclasses import replace

import pytest

from forecasting.data.series import DAY_S, panel_from_samples
from forecasting.errors import NotEnoughDataError
from forecasting.serving.records import TrainingRequest
from forecasting.serving.training import train
from monitor.api.queries.models import TrainingOrder, TrainingOutcome
from monitor.cli.main import run_command
from monitor.models.records import TrainingResult
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.storage.engine import Database
from tests.data.daily_slope import SITE, START
from tests.data.store_rows import tell
from tests.data.watched_slope import write_service

HASH = "ab" * 32
CARD = {
    "config": {"stations": ["G0.displacement", "G1.displacement"], "horizons_s": [DAY_S, 7 * DAY_S], "step_s": DAY_S},
    "data": {"rows": 336, "start_s": START.timestamp(), "end_s": START.timestamp() + 335 * DAY_S},
    "dropped_horizons": {"2592000": "a part of the record of 60 d contains 3 targets 30 d ahead, 10 are needed"},
    "training": {"begun_from": "shipped weights"},
    "explanation": {"drivers": [{"name": "R1.rain", "missing": 0.02}]},
}
TRAINED = TrainingResult(HASH, "/srv/models/jobs/gru.safetensors", CARD)


@pytest.fixture
def answer(tmp_path, monkeypatch, capsys, sqlite_url):
    """Return a function that runs the command with a training that has a given outcome."""
    with closing(Database(sqlite_url)) as database:
        site = parse_site(SITE, "jobs.toml")
        tell(database, save_site, site, "test", "test", START)
        monkeypatch.setenv("SLOPEWARD_CONFIG", str(write_service(tmp_path, database, SITE)))

    def run(outcome: TrainingOutcome, *options: str, orders: list[TrainingOrder] | None = None) -> tuple[int, str]:
        def train_one(*arguments):
            if orders is not None:
                orders.append(arguments[3])
            return outcome

        monkeypatch.setattr("monitor.features.forecasts.train.train_one", train_one)
        code = run_command(["forecast", "train", "jobs", *options])
        captured = capsys.readouterr()
        return code, captured.out if code in {0, 4} else captured.err

    return run


def test_successful_training_prints_what_was_trained_where_it_is_stored_and_the_next_command(answer):
    outcome = TrainingOutcome("ababababababab", True, (TRAINED,))
    code, printed = answer(outcome)
    assert code == 0
    assert printed.splitlines() == [
        "trained gru on G0.displacement, G1.displacement: 336 rows of 1 d, 2025-01-01 to 2025-12-02",
        "  horizons: 1 d, 7 d",
        "  not 30 d: a part of the record of 60 d contains 3 targets 30 d ahead, 10 are needed",
        "  started from shipped weights",
        "  reads R1.rain (2 % missing)",
        "  stored as model abababababab in /srv/models/jobs/gru.safetensors",
        "next: slopeward forecast run jobs",
    ]


def test_network_that_the_site_does_not_use_is_named_with_the_key_to_change(answer):
    from_site = replace(TRAINED, card={**CARD, "training": {"begun_from": HASH}})
    outcome = TrainingOutcome("x", True, (from_site,), ("every 6 h: no readings",))
    _, printed = answer(outcome, "--model", "lstm")
    lines = printed.splitlines()
    assert "  started from model abababababab" in lines
    assert lines[-2:] == [
        "every 6 h: no readings",
        "no forecast uses it yet: add lstm to models in [forecast] of the site file of jobs",
    ]


def test_json_has_the_checkpoint_beside_the_former_keys(answer):
    code, printed = answer(TrainingOutcome("abab", True, (TRAINED,)), "--json")
    facts = json.loads(printed)
    assert code == 0
    assert (facts["site"], facts["model"], facts["seed"], facts["said"]) == ("jobs", "gru", 7, "abab")
    (trained,) = facts["trained"]
    assert (trained["model_hash"], trained["path"], trained["rows"]) == (HASH, TRAINED.path, 336)
    assert (trained["begin"], trained["step_s"]) == ("2025-01-01T00:00:00.000000Z", DAY_S)


def test_training_without_a_result_prints_the_reason_and_exits_with_4(answer):
    code, printed = answer(TrainingOutcome("no readings", refusals=("no readings",)))
    assert (code, printed) == (4, "no readings\n")


def test_short_record_is_refused_with_the_rows_that_are_counted_and_needed(tmp_path):
    times_s = [6 * 3600.0 * number for number in range(101)]
    panel = panel_from_samples({"G1": (times_s, [0.1 * number for number in range(101)])}, 6 * 3600.0)
    with pytest.raises(NotEnoughDataError) as refused:
        train(panel, TrainingRequest("gru", (DAY_S,), tmp_path))
    assert str(refused.value) == (
        "gru cannot be trained: no station has readings in more than 101 rows of 6 h, 200 rows are needed "
        "(50 d without gaps); pretrained-lstm needs 40 rows of 6 h"
    )


def test_file_of_settings_chooses_the_network_and_its_settings(answer, tmp_path):
    file, orders = tmp_path / "best.toml", []
    file.write_text('model = "lstm"\n[settings]\nhidden = 64\nlearning_rate = 0.002\n')
    card = {**CARD, "training": {"begun_from": "", "settings": {"hidden": 64, "learning_rate": 0.002}}}
    outcome = TrainingOutcome("x", True, (replace(TRAINED, card=card),))
    code, printed = answer(outcome, "--settings", str(file), orders=orders)
    assert (code, orders[0].kind, orders[0].settings) == (0, "lstm", {"hidden": 64, "learning_rate": 0.002})
    assert "  settings: hidden 64, learning_rate 0.002" in printed.splitlines()
    code, error = answer(outcome, "--settings", str(file), "--model", "gru")
    assert (code, "has settings of lstm, not of gru" in error) == (2, True)
    file.write_text('model = "pretrained-lstm"\n[settings]\nhidden = 64\n')
    code, error = answer(outcome, "--settings", str(file))
    assert (code, "whose settings are fixed" in error) == (2, True)
    file.write_text('model = "lstm"\n[settings]\nhidden = 0\n')
    code, error = answer(outcome, "--settings", str(file))
    assert (code, f"{file}: settings: hidden: expected a whole number" in error) == (1, True)
