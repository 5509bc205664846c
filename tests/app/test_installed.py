"""What an installation is told of others in its packages, and what it hands on to the processes that it starts."""

import shutil
import subprocess
import sys

from monitor.app.checks import installation
from tests.fixtures.waiting import REPOSITORY


def test_a_distribution_that_wrote_into_our_packages_is_named(monkeypatch):
    brought = {"monitor": ["slopeward", "monitor"], "detection": ["slopeward"], "numpy": ["numpy"]}
    monkeypatch.setattr(installation, "packages_distributions", lambda: brought)
    (check,) = [one for one in installation.CHECKS if one.id == "packages.others"]
    seen = list(check.find(installation.Installation(None)))
    assert [one.values for one in seen] == [{"name": "monitor", "package": "monitor"}]
    monkeypatch.setattr(installation, "packages_distributions", dict)
    assert not list(check.find(installation.Installation(None)))


def test_what_an_installed_program_starts_knows_no_pythonpath(tmp_path):
    """As in a wheel, `_migrations` lies in the package; in a checkout the path is how it is found."""
    code = (
        "import os; from monitor.cli import main\n"
        "main.run_verb = lambda words: print(os.environ.get('PYTHONPATH')) or 0\n"
        "main.main([])"
    )
    for name in ("monitor", "forecasting", "detection"):
        shutil.copytree(
            REPOSITORY / name, tmp_path / name, ignore=shutil.ignore_patterns("vendor", "weights", "static")
        )

    def tell():
        return subprocess.run(
            [sys.executable, "-P", "-c", code], env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
        ).stdout.strip()

    assert tell() == str(tmp_path)
    (tmp_path / "monitor/_migrations").mkdir()
    assert tell() == "None"
