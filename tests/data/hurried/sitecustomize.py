"""On PYTHONPATH before a service starts: its trainings take one pass, its past is scored at the fewest issues.

That a network learns is known of `tests/contract/test_forecasters.py`; who waits for a service to train wants what
comes of it. `make soak` does without.
"""

import sys
from functools import partial
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any


def _shorten_past(module: ModuleType) -> None:
    module.ISSUES = module.FEWEST_ISSUES


def _shorten_training(module: ModuleType) -> None:
    module.TrainingRequest = partial(module.TrainingRequest, epochs=1, stride=4)


HURRIED = {
    "monitor.features.forecasts.hindcast": _shorten_past,
    "monitor.features.forecasts.checkpoints": _shorten_training,
}


class Finder(MetaPathFinder):
    """Lets a module load as ever and then changes it."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        """Of the modules that are hurried; None of others."""
        if fullname not in HURRIED or (spec := PathFinder.find_spec(fullname, path, target)) is None:
            return None
        loader, change = spec.loader, HURRIED[fullname]
        assert isinstance(loader, Loader)
        execute = loader.exec_module

        def execute_and_change(module: ModuleType) -> None:
            execute(module)
            change(module)

        loader.exec_module = execute_and_change  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, Finder())
