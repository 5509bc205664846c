"""A library can be imported where the service and the other library are not installed."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMPORT_ALL = """
import importlib
import importlib.abc
import pkgutil
import sys

library, *absent = sys.argv[1:]


class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"{name} is not installed", name=name)
        return None


sys.meta_path.insert(0, Absent())
package = importlib.import_module(library)
for module in pkgutil.walk_packages(package.__path__, f"{library}."):
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        if error.name.partition(".")[0] in (*absent, library):
            raise
        print(f"{module.name} needs {error.name}")  # an extra that is not installed
"""


@pytest.mark.parametrize(
    ("library", "absent"), [("forecasting", ["monitor", "detection"]), ("detection", ["monitor", "forecasting"])]
)
def test_every_module_of_a_library_is_imported_without_the_service(library, absent):
    command = [sys.executable, "-c", IMPORT_ALL, library, *absent]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert result.returncode == 0, result.stderr
