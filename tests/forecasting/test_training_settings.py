"""Settings of a training that a recipe or a file may change."""

from dataclasses import fields

import pytest

from forecasting.data.sources import read_recipe
from forecasting.errors import ForecastingError, RecipeError
from forecasting.neural.learner import Settings
from forecasting.training_settings import BOUNDS, SettingsFile, check_setting, format_settings_file, read_settings_file


def test_every_setting_exists_and_its_default_is_allowed():
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


def test_file_of_settings_is_read_as_it_was_written(tmp_path):
    content = SettingsFile("gru", {"hidden": 64, "learning_rate": 0.0021, "dropout": 0.0})
    path = tmp_path / "best.toml"
    path.write_text(format_settings_file(content, "Found on\na record\x07."), encoding="utf-8")
    assert path.read_text(encoding="utf-8").startswith('# Found on a record.\nmodel = "gru"\n')
    assert read_settings_file(path) == content


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("model =", "not TOML"),
        ("\xff", "not TOML"),
        ('model = "gru"\nhidden = 64', "unknown key 'hidden'; expected: model and the table"),
        ("[settings]\nhidden = 64", "model: expected the name of a network"),
        ('model = "gru"\nsettings = 3', "settings: expected a table"),
        ('model = "gru"\n[settings]\nhidden = 0', "settings: hidden: expected a whole number from 1 to 512"),
        ('model = "gru"\n[settings]\nwidth = 4', "settings: no setting is called 'width'"),
        ("#" * 70_000, "larger than 64 KiB"),
    ],
)
def test_wrong_file_of_settings_is_refused_with_its_path_and_key(tmp_path, text, problem):
    path = tmp_path / "best.toml"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ForecastingError) as refused:
        read_settings_file(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert problem in str(refused.value)
    with pytest.raises(ForecastingError, match="cannot be read"):
        read_settings_file(tmp_path / "none.toml")
