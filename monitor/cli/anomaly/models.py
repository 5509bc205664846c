"""`slopeward anomalies models`: the detectors among all models, with paper, size and scores beside those of `rules`.

The list itself is that of `slopeward forecast models --all`; here stand those alone that look for anomalies.
"""

import typer

from monitor.cli.forecast.catalogue import RECORDS, list_models, tell_model
from monitor.cli.session import options, show_in_order

KINDS = frozenset({"anomaly detector", "check of readings"})


def models() -> None:
    """List every detector with paper, size, stored scores beside those of `rules`, and what they argue for."""
    if not options().as_json:
        typer.echo(f"{RECORDS}. F1, or the share found, of faults laid into them, at the same rate of false alarms.")
    for row in list_models():
        if row["kind"] in KINDS:
            show_in_order(row, tell_model(row))
