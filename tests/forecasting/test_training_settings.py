"""Settings of a training that a recipe may change."""

from dataclasses import fields

import pytest

from forecasting.data.sources import read_recipe
from forecasting.errors import RecipeError
from forecasting.neural.learner import Settings
from forecasting.training_settings import BOUNDS, check_setting


def test_every_setting_is_one_of_a_training_and_its_usual_value_is_allowed():
    usual = Settings()
    assert BOUNDS.keys() <= {field.name for field in fields(Settings)}
    for name in BOUNDS:
        assert check_setting(name, getattr(usual, name)) == getattr(usual, name)


def test_a_recipe_has_settings(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text("[backtest]\nsettings = {hidden = 64, learning_rate = 0.001}\n")
    assert read_recipe(path).run["settings"] == {"hidden": 64, "learning_rate": 0.001}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{width = 3}", "no setting is called 'width'"),
        ("{hidden = 2.5}", "hidden: expected a whole number from 1 to 512"),
        ("{dropout = 2.0}", "dropout: expected a number from 0 to 0.9"),
        ("{epochs = true}", "epochs: expected a whole number"),
        ("{learning_rate = nan}", "learning_rate: expected a number"),
        ("3", "expected a table such as"),
    ],
)
def test_wrong_settings_of_a_recipe_are_refused(tmp_path, text, fault):
    path = tmp_path / "recipe.toml"
    path.write_text(f"[backtest]\nsettings = {text}\n")
    with pytest.raises(RecipeError, match=fault):
        read_recipe(path)
