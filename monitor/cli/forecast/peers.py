"""`slopeward forecast compare --peers`: our models beside those of other libraries, on a person's own record."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from monitor.cli import session
from monitor.cli.forecast.trials import _fit_horizons, model_list, open_records, refuse_interpolated
from monitor.domain.names import list_names
from monitor.extras import describe_missing, is_installed

if TYPE_CHECKING:
    from forecasting.evaluation.peers import PeerScore

NAMES = {"drift": "straight line"}


def compare_files(files: Sequence[str], horizons: str | None, models: str, origins: int, folds: int, seed: int) -> None:
    """Score every record of some files; exit 4 where nothing could be scored."""
    from forecasting.errors import ForecastingError
    from forecasting.evaluation.peers import LIBRARY, PEERS, score_beside_peers

    peers = PEERS if is_installed(LIBRARY) else ()
    if not peers:
        session.say(f"not compared with {', '.join(PEERS)}: {describe_missing(LIBRARY)}")
    found = 0
    for file in files:
        _, records, asked = open_records(file, None, None, horizons)
        for record in records:
            panel = record.panel
            refuse_interpolated(panel, asked)
            if not (spans := asked if len(records) == 1 else _fit_horizons(panel, asked)):
                continue
            try:
                scores = score_beside_peers(
                    panel, model_list(models), spans, peers=peers, folds=folds, origins=origins, seed=seed,
                    told=session.say,
                )  # fmt: skip
            except ForecastingError as error:
                session.say(f"{list_names(panel.stations)}: {error}")  # the other records are scored all the same
                continue
            found += len(scores)
            for one in scores if session.options().as_json else ():
                session.print_json({"file": file, "stations": panel.stations, **one.to_json()})
            if not session.options().as_json:
                print("\n".join([f"{file}: {list_names(panel.stations)}", *tabulate(scores)]))
    if not found:
        session.say("no forecast could be scored")
        raise typer.Exit(session.NOTHING)


def tabulate(scores: "Sequence[PeerScore]") -> list[str]:
    """A row per model: at each horizon its error and CRPS, mm."""
    from forecasting.evaluation.scoring import spell_horizon

    spans = list(dict.fromkeys(one.horizon_s for one in scores))
    most = {h: max(one.n for one in scores if one.horizon_s == h) for h in spans}
    lines = [f"{'MAE / CRPS, mm':16}" + "".join(f"{f'{spell_horizon(h)} (n {most[h]})':>20}" for h in spans)]
    at = {(one.model, one.horizon_s): one for one in scores}
    for model in dict.fromkeys(one.model for one in scores):
        line = f"{NAMES.get(model, model):16}"
        for h in spans:
            one = at.get((model, h))
            fan = "-" if one is None or one.crps_mm is None else f"{one.crps_mm:.3f}"
            fewer = "" if one is None or one.n == most[h] else f" (n {one.n})"
            line += f"{'-' if one is None else f'{one.mae_mm:.3f} / {fan}{fewer}':>20}"
        lines.append(line)
    return lines
