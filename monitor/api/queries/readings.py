"""What the database holds: readings: records, quality flags."""

from monitor.readings.queries import (
    points,  # module: queries for InSAR points
)
from monitor.readings.queries.fingerprints import (
    Stretch,  # type: (series id, from, to), without the first and with the last instant
    StretchFingerprint,  # fingerprint of what is known of a stretch of readings; changes with new data
    load_fingerprints,  # load the fingerprints of stretches of readings
    load_known,  # load readings of several series of a site after an instant of each
    load_later_entries,  # load fingerprints of later flags and offsets of a site's series
    load_newer,  # load readings of several series after their cached epoch, with fingerprints
    load_newer_values,  # load values after cached stretches, and the series with late readings
)
from monitor.readings.queries.flags import (
    TypedReading,  # a manually typed reading, and whether it looks mistyped
    find_mistyped,  # return the newest reading of a series if it looks mistyped, or None
    flag_readings,  # append a flag to stored readings, such as `bad` for a value that is no measurement
)
from monitor.readings.queries.observations import (
    Extent,  # epoch count, first and last epoch of a series in a span
    SeriesIds,  # type of a cache of series ids and units by (site, station, quantity)
    SeriesRow,  # a stored series: id, site, station, quantity and unit
    count_epochs,  # count the epochs of a series in [from_at, until) that have a value that counts
    find_epoch,  # return the epoch that a number of further epochs follow up to an instant, or None
    find_series_id,  # return the id of a series, or None if nothing of it was stored
    in_chunks,  # split a list into chunks that fit one SQL statement
    latest_reading,  # return the newest reading known at an instant, without future ones, or None
    load_epochs,  # load rows of `observation_history`, one per epoch in [from_at, until)
    load_extents,  # load epoch count, first and last epoch of series in (since, until]
    load_ids,  # load the ids of a site's stored series by (station, quantity)
    load_offsets,  # load the offsets of a series as known at an instant, by start time
    load_readings,  # load readings of a series in (from, to] as known at an instant
    load_series,  # load the stored series of a site, by station and quantity
    stream_readings,  # iterate over the readings that `load_readings` would return
)
from monitor.readings.queries.points import (
    METRES_PER_DEGREE,  # metres per degree of latitude
    PointSetRequest,  # an InSAR point set as known after its newest delivery, to be processed
    find_nearest,  # return the nearest station and its distance in metres, or None
    list_newest_deliveries,  # return point sets of a site with a delivery that is not yet processed
    list_point_ids,  # return the ids of the points of a set up to a last id
    load_places,  # load latitude and longitude of points by id
    window_of,  # return time window (s) and zone radius (m) of a criterion on InSAR points
)
from monitor.readings.queries.storing import (
    AddResult,  # result of storing readings: counts of stored, duplicate and revised, sites
    add_observations,  # store readings: skip duplicates, add other values as revisions
)
from monitor.readings.queries.uncounted import (
    find_uncounted,  # find judged series whose newest readings are all unusable because of flags
)

__all__ = [
    "METRES_PER_DEGREE",
    "AddResult",
    "Extent",
    "PointSetRequest",
    "SeriesIds",
    "SeriesRow",
    "Stretch",
    "StretchFingerprint",
    "TypedReading",
    "add_observations",
    "count_epochs",
    "find_epoch",
    "find_mistyped",
    "find_nearest",
    "find_series_id",
    "find_uncounted",
    "flag_readings",
    "in_chunks",
    "latest_reading",
    "list_newest_deliveries",
    "list_point_ids",
    "load_epochs",
    "load_extents",
    "load_fingerprints",
    "load_ids",
    "load_known",
    "load_later_entries",
    "load_newer",
    "load_newer_values",
    "load_offsets",
    "load_places",
    "load_readings",
    "load_series",
    "points",
    "stream_readings",
    "window_of",
]
