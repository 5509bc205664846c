"""The networks and decompositions of this package are found by the commands of the service."""

import json
import subprocess
import sys

from forecasting.decomposition.components import list_methods
from forecasting.registry import NETWORKS as BUILT_IN
from forecasting.registry import list_networks
from monitor.cli.main import run_command
from slopeward_lab.decompositions.registry import METHODS
from slopeward_lab.forecasters.registry import NETWORKS
from tests.cli.test_catalogues import count_weights, read_reference_page


def test_networks_and_decompositions_are_registered():
    assert list_networks() == {**BUILT_IN, **NETWORKS}
    assert METHODS.items() <= list_methods().items()


def test_the_catalogue_lists_each_with_a_sentence(capsys):
    assert run_command(["forecast", "models", "--all", "--json"]) == 0
    listed = {row["id"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    for name in (*NETWORKS, *METHODS):
        assert listed[name]["what"].endswith("."), name


def test_the_reference_page_names_every_network_with_its_weights():
    page = read_reference_page()
    assert page.keys() == list_networks().keys()
    for name in NETWORKS:
        assert page[name] == count_weights(name), name


def test_listing_the_models_loads_no_torch():
    code = (
        "import sys; from forecasting.registry import list_networks; assert 'tcn' in list_networks(); "
        "assert not {'torch', 'numpy'} & set(sys.modules), 'loaded'"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
