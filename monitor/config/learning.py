"""What `[forecast]` says of how networks learn: where they begin, and what they learn beside."""

from collections.abc import Iterator

from forecasting.registry import NETWORKS, PRETRAINED, READS_TOGETHER
from monitor.config.site_schema import Table


def find_unfit(table: Table, site: str) -> Iterator[str]:
    """Keys that nothing would use, or that contradict each other: one line each, without the name of the file."""
    networks = [m for m in table.models if m in NETWORKS]
    keys = {"start_from": table.start_from, "replay": table.replay}
    for key, value in keys.items():
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
