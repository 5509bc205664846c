"""Segmenters that installed packages register, and what is said without such a package."""

from importlib.metadata import EntryPoint

import pytest

from detection import entry_points
from detection.imagery import registry
from detection.imagery.errors import ModelError

PACKAGE = """
from detection.imagery.registry import NetworkEntry

SEGMENTERS = {
    "late-net": NetworkEntry("somewhere.networks:LateNet", True, 16, 112),
    "unet": NetworkEntry("somewhere.networks:Other", True, 16, 112),
    "triage-resnet": NetworkEntry("somewhere.networks:Other", True, 16, 112),
}
"""


@pytest.fixture
def install(monkeypatch, tmp_path):
    """Return a function that installs entry points by name and value, in place of those of this environment."""
    (tmp_path / "some_segmenters.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(tmp_path)

    def register(**values):
        installed = [EntryPoint(name, value, registry.ENTRY_POINTS) for name, value in values.items()]
        monkeypatch.setattr(entry_points, "entry_points", lambda group: installed)
        registry._load_installed.cache_clear()

    yield register
    registry._load_installed.cache_clear()


def test_segmenters_of_an_installed_package_are_found(install):
    install(good="some_segmenters:SEGMENTERS")
    assert registry.list_segmenters().keys() == {*registry.SEGMENTERS, "late-net"}
    assert registry.find_entry("late-net").halo_px == 112
    assert registry.find_entry("unet") == registry.SEGMENTERS["unet"], "a package cannot replace a built-in network"


def test_without_packages_an_unknown_network_is_answered_with_what_to_install(install):
    install()
    with pytest.raises(ModelError, match=r"unknown network 'segnet'; known: .*pip install 'slopeward\[lab\]'$"):
        registry.build("segnet", 3)
