"""`slopeward forecast compare --peers`: our models beside those of other libraries, on a person's own record."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from monitor.cli import session
from monitor.cli.forecast.trials import fit_horizons, model_list, open_records, refuse_interpolated
from monitor.domain.extras import describe_missing, is_installed
from monitor.domain.instants import format_duration
from monitor.domain.names import list_names

if TYPE_CHECKING:
    from forecasting.evaluation.peers import PeerScore

NAMES = {"drift": "straight line"}


def compare_files(files: Sequence[str], horizons: str | None, models: str, origins: int) -> None:
    """Score every record of some files; exit 4 where nothing could be scored."""
    from forecasting.errors import ForecastingError
    from forecasting.evaluation.peers import LIBRARY, OTHERS, PEERS, score_with_peers

    peers = PEERS if is_installed(LIBRARY) else ()
    if not peers:
        session.print_note(f"not compared with {', '.join(PEERS)}: {describe_missing(LIBRARY)}")
    for library, names in OTHERS.items():
        here = "not asked" if is_installed(library) else "not installed"
        session.print_note(
            f"not compared with {', '.join(names)}: {library} is {here} here; they take a training per record, in an"
            f" environment of their own (pip install {library})"
        )
    found = 0
    opened = [(file, open_records(file, None, None, horizons)) for file in files]
    for file, record, wanted in [(file, one, spans) for file, (_, records, spans) in opened for one in records]:
        panel, stations = record.panel, record.panel.stations
        try:
            refuse_interpolated(panel, wanted)
            spans = fit_horizons(panel, wanted)
            scores = (
                score_with_peers(
                    panel, model_list(models), spans, peers=peers, origins=origins, on_progress=session.print_note
                )
                if spans
                else []
            )
        except ForecastingError as error:
            session.print_note(f"{list_names(stations)}: {error}")  # the other records are scored all the same
            continue
        found += len(scores)
        if session.options().as_json:
            for one in scores:
                facts = {"file": file, "stations": stations, "horizon": format_duration(round(one.horizon_s))}
                session.print_json(facts | one._asdict())
        else:
            print("\n".join([f"{file}: {list_names(stations)}", *tabulate(scores)]))
    session.require_any(found, "no forecast could be scored")


def tabulate(scores: "Sequence[PeerScore]") -> list[str]:
    """A row per model: at each horizon its error and CRPS, mm; the pairs where they are fewer than those of others."""
    most = {h: max(s.n for s in scores if s.horizon_s == h) for h in dict.fromkeys(s.horizon_s for s in scores)}
    heads = [f"{format_duration(round(h))} (n {n})" for h, n in most.items()]
    at = {(one.model, one.horizon_s): one for one in scores}
    lines = [f"{'MAE / CRPS, mm':16}" + "".join(f"{head:>20}" for head in heads)]
    for model in dict.fromkeys(one.model for one in scores):
        cells = [_cell(at.get((model, h)), n) for h, n in most.items()]
        lines.append(f"{NAMES.get(model, model):16}" + "".join(f"{cell:>20}" for cell in cells))
    return lines


def _cell(one: "PeerScore | None", most: int) -> str:
    if one is None:
        return "-"
    crps = "-" if one.crps_mm is None else f"{one.crps_mm:.3f}"
    return f"{one.mae_mm:.3f} / {crps}" + ("" if one.n == most else f" (n {one.n})")
