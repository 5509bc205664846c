"""What `[forecast]` says of how networks learn: where they begin, what they learn beside, what their loss knows."""

from collections.abc import Iterator

from forecasting.registry import NETWORKS, PRETRAINED, READS_ALL, READS_DRIVERS, READS_TOGETHER
from monitor.config.site_schema import ForecastTable
from monitor.domain.site import Station

_SIGNED = ("displacement_east", "displacement_north", "displacement_los")  # positive is not downslope
_TERMS = ("rain", "creep", "voight")


def read_physics(table: ForecastTable) -> tuple[tuple[str, float], ...]:
    """Soft terms with their weights, and the exponent; nothing where no term has a weight."""
    terms = table.physics
    if not any(getattr(terms, name) for name in _TERMS):
        return ()
    return tuple((name, float(weight)) for name, weight in terms if weight and (name != "alpha" or terms.voight))


def find_unfit(table: ForecastTable, site: str, stations: tuple[Station, ...]) -> Iterator[str]:
    """Keys that nothing would use, or that contradict each other: one line each, without the name of the file."""
    networks = [m for m in table.models if m in NETWORKS]
    asked = {"start_from": table.start_from, "replay": table.replay, "physics": table.physics.model_fields_set}
    for key, value in asked.items():
        if value and not networks:
            yield f"forecast.{key}: no network is chosen that could use it; add one to forecast.models, or take it out"
    if not networks:
        return
    if table.start_from:
        anew = [m for m in networks if m not in PRETRAINED]
        if not anew:
            yield f"forecast.start_from: {networks[0]} begins with shipped weights; take it out"
        if together := [m for m in anew if m in READS_TOGETHER]:
            yield (
                f"forecast.start_from: {', '.join(together)} reads the stations of one site together and cannot begin "
                "with the weights of another network; expected networks such as lstm, gru"
            )
    if table.replay and not (table.start_from or set(networks) & set(PRETRAINED)):
        yield (
            "forecast.replay: a network that begins anew has nothing to forget; expected start_from beside it, or "
            f"{PRETRAINED[0]} in forecast.models"
        )
    if site in table.replay:
        yield f"forecast.replay: the record of {site} itself is learnt from in any case; expected other sites"
    yield from _find_unfit_terms(table, networks, stations)


def _find_unfit_terms(table: ForecastTable, networks: list[str], stations: tuple[Station, ...]) -> Iterator[str]:
    terms = table.physics
    if "alpha" in terms.model_fields_set and not terms.voight:
        yield "forecast.physics.alpha: it is the exponent of voight; expected a weight for voight beside it"
    if terms.rain:
        measured = {f"{s.id}.{one.quantity}" for s in stations for one in s.series if one.quantity.startswith("rain")}
        read = measured if READS_ALL & set(networks) else measured & set(table.covariates)
        if not read or not READS_DRIVERS & set(networks):
            yield (
                f"forecast.physics.rain: {', '.join(networks)} reads no rain here; expected a series of rain in "
                "forecast.covariates and a network that reads it"
            )
    if terms.creep:
        signed = [f"{s.id}.{one.quantity}" for s in stations for one in s.series if one.quantity in _SIGNED]
        if signed:
            yield (
                f"forecast.physics.creep: it forbids movement backwards, and the sign of {signed[0]} is no direction "
                "of the slope; expected displacement_downslope or other series that grow with the movement"
            )
