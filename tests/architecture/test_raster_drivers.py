"""Every raster is opened by a GDAL driver that the code names.

Without a name GDAL tries each of its drivers, and some of them open other files and network addresses. A file from
outside could then read files of this machine.
"""

import ast
import re
from pathlib import Path

from tests.architecture.syntax import walk

ROOT = Path(__file__).parents[2]
MENTIONS_RASTERS = re.compile("rasterio|memory|osgeo|fiona|pyogrio|geopandas")
FORBIDDEN = {"osgeo", "fiona", "pyogrio", "geopandas"}
# Reads a copy of a file whose format it knows; pyogrio accepts no list of drivers.
VECTORS = "detection/imagery/raster/vectors.py"


def find_unsafe_access(source):
    """Return the lines that import a forbidden library or open a raster without naming a driver."""
    lines = []
    if not MENTIONS_RASTERS.search(source):
        return lines
    for node in walk(ast.parse(source)):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            modules.append(node.module or "")
        if FORBIDDEN & {module.split(".")[0] for module in modules}:
            lines.append(node.lineno)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "open":
            opener = ast.unparse(node.func.value)
            if opener in {"rasterio", "memory"} and "driver" not in {word.arg for word in node.keywords}:
                lines.append(node.lineno)
    return lines


def test_every_raster_is_opened_by_a_driver_named_in_the_code():
    paths = [path for package in ("detection", "forecasting", "monitor") for path in (ROOT / package).rglob("*.py")]
    unsafe = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in paths
        if path.relative_to(ROOT).as_posix() != VECTORS
        for line in find_unsafe_access(path.read_text(encoding="utf-8"))
    ]
    assert unsafe == []


def test_unsafe_access_is_found():
    assert find_unsafe_access("import rasterio\nrasterio.open(path)") == [2]
    assert find_unsafe_access("rasterio.open(path, driver='GTiff')\nopen(memory)") == []
    assert find_unsafe_access("from osgeo import gdal") == [1]
