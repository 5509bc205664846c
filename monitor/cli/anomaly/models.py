"""`slopeward anomalies models`: every detector with paper, size and measured recall, and whether it adds anything."""

from importlib.util import find_spec
from typing import Any, Final

import typer

from detection.anomaly.registry import CHECKS, COMPOSITES, NETWORKS, SITE_NETWORKS, list_served
from monitor.cli.session import JsonOption, print_json

ADDS: Final = 0.02  # recall at equal false alarms, above what is served without it
STATIONS: Final = 18  # of which the size of a network for a whole site is stated, as on record G
RECORDS: Final = ("G", "K", "S", "SK")
SERVED: Final = ("persistence-z", "rules")
# recall with the threshold that spends 0.1 false alarms per sensor-month on the untouched record, without checks, one
# seed, on G, K, S and SK: `docs/benchmarks/anomalies-bench.json`
FIGURES: Final[dict[str, tuple[float, float, float, float]]] = {
    "persistence-z": (0.48, 0.42, 0.56, 0.35),
    "robust-z": (0.44, 0.38, 0.53, 0.35),
    "ewma": (0.5, 0.31, 0.5, 0.18),
    "slope-change": (0.45, 0.27, 0.41, 0.06),
    "variance": (0.25, 0.19, 0.35, 0.21),
    "page-hinkley": (0.51, 0.31, 0.38, 0.12),
    "matrix-profile": (0.04, 0.01, 0.12, 0.12),
    "common-mode": (0.1, 0.03, 0.12, 0.0),
    "rules": (0.81, 0.72, 0.76, 0.44),
    "ae": (0.46, 0.48, 0.47, 0.38),
    "conv-ae": (0.55, 0.49, 0.59, 0.32),
    "lstm-ae": (0.39, 0.36, 0.44, 0.38),
    "gru-ae": (0.36, 0.38, 0.44, 0.38),
    "vae": (0.46, 0.44, 0.47, 0.44),
    "site-ae": (0.67, 0.55, 0.68, 0.41),
    "residual-fan": (0.48, 0.37, 0.29, 0.21),
}
PAPERS: Final = {
    "persistence-z": "median and its scale: Hampel (1974)",
    "robust-z": "median and its scale: Hampel (1974)",
    "drift-z": "median and its scale: Hampel (1974), about a line of 60 days",
    "ewma": "Roberts (1959)",
    "slope-change": "least squares in two windows",
    "variance": "ratio of two robust scales",
    "page-hinkley": "Page (1954), Hinkley (1971)",
    "matrix-profile": "Yeh et al. (2016)",
    "common-mode": "stacking of stations: Wdowinski et al. (1997)",
    "rules": "six parts of the rules above, after what the neighbours explain",
    "ae": "Hinton and Salakhutdinov (2006)",
    "conv-ae": "Masci et al. (2011)",
    "lstm-ae": "Malhotra et al. (2016)",
    "gru-ae": "Cho et al. (2014), as an encoder and decoder",
    "vae": "Kingma and Welling (2014)",
    "site-ae": "denoising autoencoder: Vincent et al. (2008), over all stations",
    "residual-fan": "k of n outside adaptive conformal intervals: Gibbs and Candès (2021)",
}


def models(as_json: JsonOption = False) -> None:
    """List every detector with its paper, size and recall, and whether it adds anything to `rules`."""
    for name in list_served():
        facts = describe(name)
        if as_json:
            print_json(facts)
            continue
        recall = facts["recall_at_equal_false_alarms"]
        figure = "-" if recall is None else " ".join(f"{k} {v:.2f}" for k, v in recall.items())
        size = facts["parameters"]
        said = f"{facts['speaks_for_it']}; {facts['paper']}"
        typer.echo(f"{name:15} {'-' if size is None else size:>6}  {figure:30} {said}")


def describe(name: str) -> dict[str, Any]:
    """What is known of one detector, JSON-ready; the size of a network is None where torch is not installed."""
    figures = FIGURES.get(name)
    return {
        "detector": name, "paper": PAPERS.get(name, "a check: certain, without a threshold"),
        "parameters": _count_parameters(name), "speaks_for_it": speak_for(name),
        "recall_at_equal_false_alarms": None if figures is None else dict(zip(RECORDS, figures, strict=True)),
    }  # fmt: skip


def speak_for(name: str) -> str:
    """Whether a detector finds what those that are served do not, on the records at hand.

    >>> speak_for("rules"), speak_for("flatline")
    ('the default', 'in the default')
    """
    if name == "rules":
        return "the default"
    if name in CHECKS:
        return "in the default"
    if name == "persistence-z":
        return "what networks must beat, with `rules`"
    if name not in FIGURES:
        return "never measured"
    best = [max(FIGURES[one][k] for one in SERVED) for k in range(4)]
    gains = {record: FIGURES[name][k] - best[k] for k, record in enumerate(RECORDS)}
    better = [record for record, gain in gains.items() if gain >= ADDS]
    return f"adds on {', '.join(better)}" if better else "nothing: `rules` finds as much or more on each record"


def _count_parameters(name: str) -> int | None:
    """Numbers that a network learns; thresholds that are counted of anything else."""
    if name not in NETWORKS:
        return 0 if name in CHECKS or name == "residual-fan" else len(COMPOSITES.get(name, (name,)))
    if find_spec("torch") is None:
        return None
    from detection.anomaly.registry import load_network

    network = load_network(name)(*((2 * STATIONS,) if name in SITE_NETWORKS else ()))
    return int(sum(p.numel() for p in network.parameters()))
