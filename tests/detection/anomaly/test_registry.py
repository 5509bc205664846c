"""Detectors of installed packages, and the messages without such a package."""

from importlib.metadata import EntryPoint

import pytest

from detection import entry_points
from detection.anomaly import registry
from detection.anomaly.detector import train_detector
from detection.anomaly.records import InputError

PACKAGE = """
from detection.anomaly.registry import DetectorEntry

DETECTORS = {
    "late-rule": DetectorEntry("somewhere.rules:late_rule"),
    "late-ae": DetectorEntry("somewhere.networks:LateAutoencoder", is_network=True),
    "ae": DetectorEntry("somewhere.networks:Other", is_network=True),
    "flatline": DetectorEntry("somewhere.rules:flatline"),
}
"""


@pytest.fixture
def install(monkeypatch, tmp_path):
    """Return a function that installs entry points by name and value, in place of those of this environment."""
    (tmp_path / "some_detectors.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(tmp_path)

    def register(**values):
        installed = [EntryPoint(name, value, registry.ENTRY_POINTS) for name, value in values.items()]
        monkeypatch.setattr(entry_points, "entry_points", lambda group: installed)
        registry._load_installed.cache_clear()

    yield register
    registry._load_installed.cache_clear()


def test_detectors_of_an_installed_package_are_found(install):
    install(broken="absent_package:DETECTORS", good="some_detectors:DETECTORS")
    assert registry.list_rules().keys() == {"late-rule"}
    assert registry.list_networks().keys() == {"ae", "late-ae"}
    assert registry.is_network("late-ae")
    assert not registry.is_network("late-rule")
    assert registry.list_networks()["ae"] == registry.NETWORKS["ae"], "a package cannot replace a built-in detector"


def test_without_third_party_code_the_detectors_of_packages_are_left_out(install, monkeypatch):
    monkeypatch.setenv("SLOPEWARD_PLUGINS", "none")
    install(good="some_detectors:DETECTORS")
    assert registry.list_detectors() == ["rules", "ae"]


def test_without_packages_an_unknown_detector_is_answered_with_what_to_install(install):
    install()
    assert registry.list_detectors() == ["rules", "ae"]
    with pytest.raises(InputError, match=r"unknown detector 'oracle'; .*pip install 'slopeward\[lab\]'$"):
        train_detector("oracle", {}, 0.1, 7)


@pytest.mark.parametrize("name", sorted(registry.REPLACED))
def test_without_the_lab_package_a_detector_of_it_is_answered_with_its_replacement(install, name):
    install()
    with pytest.raises(InputError, match=rf"'{name}' is in the package slopeward-lab: use '{registry.REPLACED[name]}'"):
        train_detector(name, {}, 0.1, 7)
