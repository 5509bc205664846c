"""Networks that installed packages register, and the errors without such a package."""

from importlib.metadata import EntryPoint

import pytest

from forecasting import entry_points, registry
from forecasting.errors import UnknownModelError

PACKAGE = """
import sys
from forecasting.registry import NetworkEntry

NETWORKS = {"late-mean": NetworkEntry("somewhere.networks:LateMean", reads_stations_together=True)}
TAKEN = {
    name: NetworkEntry("somewhere.networks:Other") for name in ("gru", "combined", "line", "persistence", "auto")
}
WRONG = {"number": 3}
"""


@pytest.fixture
def install(monkeypatch, tmp_path):
    """Return a function that installs entry points by name and value, in place of those of this environment."""
    (tmp_path / "some_networks.py").write_text(PACKAGE)
    (tmp_path / "ends_the_program.py").write_text("raise SystemExit(2)")
    monkeypatch.syspath_prepend(tmp_path)

    def register(**values):
        installed = [EntryPoint(name, value, registry.ENTRY_POINTS) for name, value in values.items()]
        monkeypatch.setattr(entry_points, "entry_points", lambda group: installed)
        registry._load_installed.cache_clear()

    yield register
    registry._load_installed.cache_clear()


def test_networks_of_an_installed_package_are_found(install):
    install(good="some_networks:NETWORKS")
    assert registry.is_network("late-mean")
    assert registry.reads_stations_together("late-mean")
    assert "late-mean" in registry.list_models()
    assert "pip install" not in registry.describe_unknown_model("oracle")


def test_a_package_cannot_replace_a_built_in_model(install):
    install(taken="some_networks:TAKEN")
    assert registry.load("gru").__name__ == "Gru"
    for name in ("combined", "line", "persistence", "auto"):
        assert not registry.is_network(name), name


@pytest.mark.parametrize("value", ["absent_package:NETWORKS", "some_networks:WRONG", "ends_the_program:NETWORKS"])
def test_a_package_that_registers_nothing_useful_is_logged_and_skipped(install, caplog, value):
    install(broken=value, good="some_networks:NETWORKS")
    assert registry.list_networks().keys() == registry.NETWORKS.keys() | {"late-mean"}
    assert len(caplog.records) == 1


def test_error_for_an_unknown_model_names_the_package_to_install(install):
    install()
    assert registry.list_networks() == registry.NETWORKS
    with pytest.raises(UnknownModelError, match=r"no network is called 'tcn'; .*pip install 'slopeward\[lab\]'$"):
        registry.load("tcn")


def test_without_third_party_code_the_networks_of_packages_are_left_out(install, monkeypatch):
    monkeypatch.setenv("SLOPEWARD_PLUGINS", "none")
    install(good="some_networks:NETWORKS")
    assert registry.list_networks() == registry.NETWORKS


def test_built_in_models_are_found_without_entry_points(install, monkeypatch):
    install()
    monkeypatch.setattr(entry_points, "entry_points", lambda group: pytest.fail("looked for packages"))
    assert registry.is_network("gru")
    assert not registry.is_network("combined")
    assert registry.load("gru").__name__ == "Gru"


@pytest.mark.parametrize("name", ["auto", "auto+gru", "gated", "lld", "drift", "seasonal", "ets", "arima", "ridge"])
def test_error_for_a_former_model_names_its_replacement(install, name):
    install()
    assert registry.is_removed(name)
    with pytest.raises(UnknownModelError) as error:
        registry.load(name)
    assert str(error.value).startswith(f"{name!r} was removed: the forecast 'combined', which every site has, replaces")
