"""Report distributions that wrote into our packages, and the environment passed to child processes."""

import shutil
import subprocess
import sys

from monitor.app.checks import installation
from tests.fixtures.waiting import REPOSITORY


def test_distribution_that_wrote_into_our_packages_is_reported(monkeypatch):
    distributions_by_package = {"monitor": ["slopeward", "monitor"], "detection": ["slopeward"], "numpy": ["numpy"]}
    monkeypatch.setattr(installation, "packages_distributions", lambda: distributions_by_package)
    (check,) = [message for message in installation.CHECKS if message.id == "packages.others"]
    messages = list(check.find(installation.Installation(None)))
    assert [message.values for message in messages] == [{"name": "monitor", "package": "monitor"}]
    monkeypatch.setattr(installation, "packages_distributions", dict)
    assert not list(check.find(installation.Installation(None)))


def test_child_processes_of_an_installed_program_get_no_pythonpath(tmp_path):
    """An installed package contains `_migrations`.

    In a checkout child processes need PYTHONPATH to find the packages.
    """
    code = (
        "import os; from monitor.cli import main\n"
        "main.run_command = lambda words: print(os.environ.get('PYTHONPATH')) or 0\n"
        "main.main([])"
    )
    for name in ("monitor", "forecasting", "detection"):
        shutil.copytree(
            REPOSITORY / name, tmp_path / name, ignore=shutil.ignore_patterns("vendor", "weights", "static")
        )

    def print_pythonpath():
        return subprocess.run(
            [sys.executable, "-P", "-c", code], env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
        ).stdout.strip()

    assert print_pythonpath() == str(tmp_path)
    (tmp_path / "monitor/_migrations").mkdir()
    assert print_pythonpath() == "None"
