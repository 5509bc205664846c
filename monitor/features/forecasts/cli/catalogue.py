"""Every model there is, with what its source says of it in a sentence."""

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

COMBINATION = (
    "The forecast that is shown: weighted mean of simple forecasts, regressions on rain and water, and networks; the "
    "weights follow from past errors."
)
SIMPLE = {
    "persistence": "The newest reading.",
    "line": "A straight line from the newest reading; its slope is the one with the smallest error so far.",
}
KINEMATIC = {
    "inverse-velocity": "forecasting.kinematics.inverse_velocity",
    "tangential-angle": "forecasting.kinematics.tangential_angle",
    "stages": "forecasting.kinematics.stages",
}
"""What is made of the curve alone; the service runs all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueEntry:
    """One model; its fields are the keys of a JSON line."""

    id: str
    kind: str
    what: str  # one sentence, with the paper
    reads_drivers: bool = False
    served: bool = True


def list_models() -> Iterator[CatalogueEntry]:
    """One entry a model, in the order forecasts, parts of a curve, curves, anomalies."""
    from detection.anomaly.registry import CHECKS, COMPOSITES, list_rules
    from detection.anomaly.registry import list_networks as list_autoencoders
    from forecasting.decomposition.components import FOR_FORECASTS, list_methods
    from forecasting.registry import COMBINED, SIMPLE_FORECASTS, list_networks

    networks = list_networks()
    targets = [entry.target for entry in networks.values()]
    models_per_module = Counter(target.partition(":")[0] for target in targets)

    def describe(path: str) -> str:
        # the module's sentence where the module holds one model, else the sentence of the class or function
        module = path.partition(":")[0]
        return _read_sentence(module if models_per_module[module] == 1 else path)

    yield CatalogueEntry(id=COMBINED, kind="forecast", what=COMBINATION)
    for name in SIMPLE_FORECASTS:
        yield CatalogueEntry(id=name, kind="simple forecast", what=SIMPLE[name])
    for name, entry in networks.items():
        what = describe(entry.target)
        yield CatalogueEntry(id=name, kind="network", what=what, reads_drivers=entry.reads_drivers)
    for name, method in list_methods().items():
        what = _read_sentence(method.target.partition(":")[0])
        yield CatalogueEntry(id=name, kind="decomposition", what=what, served=name in FOR_FORECASTS)
    for name, path in KINEMATIC.items():
        yield CatalogueEntry(id=name, kind="curve", what=_read_sentence(path))
    for name, detector in {**list_rules(), **list_autoencoders()}.items():
        yield CatalogueEntry(id=name, kind="anomaly detector", what=_read_sentence(detector.target))
    for name, parts in COMPOSITES.items():
        what = f"Several rules that share one budget: {', '.join(parts)}."
        yield CatalogueEntry(id=name, kind="anomaly detector", what=what)
    for name, found in CHECKS.items():
        yield CatalogueEntry(id=name, kind="check of readings", what=f"Finds {found}, certain without a score.")


def format_model(model: CatalogueEntry) -> str:
    """Two lines for people."""
    more = [part for part, holds in (("reads drivers", model.reads_drivers), ("not served", not model.served)) if holds]
    return f"{model.id:20} {model.kind:20} {'  '.join(more)}".rstrip() + f"\n    {model.what}"


def _read_sentence(path: str) -> str:
    module, _, attribute = path.partition(":")
    tree = ast.parse(Path(str((found := find_spec(module)) and found.origin)).read_text(encoding="utf-8"))
    nodes: list[Any] = [one for one in tree.body if attribute and getattr(one, "name", None) == attribute] or [tree]
    return (ast.get_docstring(nodes[0]) or "").partition("\n")[0]
