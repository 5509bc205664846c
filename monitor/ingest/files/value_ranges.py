"""Find series of a file of which most values are outside the expected range. Their unit or their meaning is wrong."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from monitor.decision.alert_texts import name_series
from monitor.readings.queries.flags import OUT_OF_RANGE
from monitor.readings.records import Observation
from monitor.sites.records import Site
from monitor.text.message import Figure, Message, Template

# A file is refused if a larger share of the values of a series is out of range.
LARGEST_SHARE: Final = 0.5
_OUT_OF_RANGE: Final = Template(
    "file.range",
    "{n} of {total} values of {series} are out of range ({low} to {high}), for example {value}; coordinates, another "
    "unit, or another quantity? If the values are right, set low and high of the series in the site file",
)
_SeriesKey = tuple[str, str, str]


@dataclass(slots=True)
class _RangeCount:
    total: int = 0
    out_of_range: int = 0
    example: float = 0.0


@dataclass(slots=True)
class RangeCheck:
    """Counts the values of a file that are out of range, by site, station and quantity."""

    counts: dict[_SeriesKey, _RangeCount] = field(default_factory=dict)

    def add(self, observations: Iterable[Observation]) -> None:
        """Count observations. Their flags must be set."""
        for observation in observations:
            key = (observation.site, observation.station, observation.quantity)
            count = self.counts.setdefault(key, _RangeCount())
            count.total += 1
            if OUT_OF_RANGE in observation.flags:
                count.example = count.example if count.out_of_range else observation.value
                count.out_of_range += 1

    def find_doubts(self, sites: Mapping[str, Site]) -> list[Message]:
        """Return a text for each series of which more than half is out of range."""
        doubts = []
        for (site_id, station, quantity), count in self.counts.items():
            site = sites.get(site_id)
            expected = None if site is None else site.find_expected_range(station, quantity)
            if expected is None or count.out_of_range <= LARGEST_SHARE * count.total:
                continue
            doubts.append(
                _OUT_OF_RANGE(
                    n=Figure(count.out_of_range, "d"),
                    total=Figure(count.total, "d"),
                    series=name_series(f"{station}.{quantity}"),
                    low=Figure(expected.low, "g"),
                    high=Figure(expected.high, "g", expected.unit),
                    value=Figure(count.example, ".6g", expected.unit),
                )
            )
        return doubts
