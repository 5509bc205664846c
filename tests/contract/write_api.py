"""Record the names of `monitor.api` and its version: python -m tests.contract.write_api."""

import importlib
import pkgutil
from pathlib import Path
from typing import Final

from monitor import api

RECORDED: Final = Path(__file__).with_name("api_names.txt")


def list_names() -> list[str]:
    """Return all names of all modules of the API."""
    modules = [
        module_info.name for module_info in pkgutil.walk_packages(api.__path__, "monitor.api.") if not module_info.ispkg
    ]
    return sorted(f"{module}.{name}" for module in modules for name in importlib.import_module(module).__all__)


if __name__ == "__main__":
    RECORDED.write_text("\n".join([f"version {api.VERSION}", *list_names(), ""]), encoding="utf-8")
