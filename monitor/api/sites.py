"""Sites: the records of a site file, its parsing, places and quantities."""

from monitor.sites.cadence import (
    UNKNOWN_STAGE,  # stage of movement while none is determined, `unknown`
    slowest_cadence_s,  # return the longest evaluation interval of any stage, seconds
    stage_cadence,  # return evaluation and forecast intervals at a stage of movement, seconds
)
from monitor.sites.channels import (
    find_channel_traits,  # return the properties of a channel's kind
    find_topic_fault,  # return why a channel may not publish on its topic; "" if it may
    split_channel,  # split a channel `kind:address` into its two parts
)
from monitor.sites.criteria.registry import (
    load_criteria,  # return the kinds of criteria by their name in site files, those of Slopeward first
)
from monitor.sites.files import (
    load_site,  # load one site file and log its weaknesses; raises ConfigError
    scan_sites,  # reads all site files of a folder; returns the sites and the errors by file
)
from monitor.sites.first_site import (
    EXAMPLES_COMMENT,  # comment in a new site file: the numbers below are only examples
    FEWEST_INTERVALS,  # smallest number of sampling intervals in a window
    LONGEST_WAIT_S,  # longest window of an example criterion per level, highest first, seconds
    write_first_site,  # return the text of a first, commented site file
)
from monitor.sites.ground import (
    EARTH_RADIUS_M,  # mean radius of the Earth, metres
    Place,  # type: (latitude, longitude) in degrees
    crosses_itself,  # return whether edges of a closed ring cross or touch
    find_hull,  # return the convex hull of points, counter-clockwise
    measure_area_m2,  # return the area of a longitude-latitude ring on the ellipsoid, m²
    measure_ground_distance_m,  # return the ground distance between two places, metres
)
from monitor.sites.parents import (
    PARENT_KINDS,  # kinds of equipment that several series may depend on, nearest first
    Parent,  # equipment that several series depend on, such as a logger
    list_children,  # return the series that depend on each shared piece of equipment
)
from monitor.sites.parsing import (
    find_weaknesses,  # return warnings about a valid site file that `slopeward check` rejects
    parse_site,  # reads the text of a site file
)
from monitor.sites.quantities import (
    BATTERY_LEVEL,  # quantity of the battery level that a device reports, `battery_level`
    BATTERY_VOLTAGE,  # quantity of the battery voltage, `battery_voltage`
    DEPTH_PREFIX,  # prefix of quantities at one depth of a profile, `depth_`
    GROUND_MOTION_PREFIXES,  # prefixes of quantities that measure ground movement
    HOUSEKEEPING,  # quantities about the instrument instead of the slope
    LANDSLIDE_PREFIX,  # prefix of station ids for landslides followed on scenes, `F-`
    MODELLED_MOTION_PREFIXES,  # prefixes of quantities that forecasts and detectors treat as motion
    MOTION_PREFIXES,  # prefixes of quantities that measure motion of a station
    QUANTITIES,  # known quantities by name, with canonical unit and range
    SIGNAL_STRENGTH,  # quantity of the radio signal strength, `signal_strength`
    VELOCITY_MAP_QUANTITIES,  # quantities derived from velocity maps
    convert,  # convert a value between units; raises ValueError if they do not fit
    convert_difference,  # convert a difference between units, without the zero offset
    explain_unit,  # return an error text for an unknown unit, with similar known ones
    is_raw,  # return whether a unit means raw sensor readings before calibration
    is_unit_of,  # return whether a unit fits a known quantity
    list_units,  # return the units of a known quantity, most similar first
    read_trace,  # return 0.0 for a cell that means a trace of rain or snow, else None
    split_suffix,  # split a name such as `rain_mm` into quantity and unit, or None
)
from monitor.sites.records import (
    ELLIPSOID,  # height reference: above the ellipsoid, `ellipsoid`
    IMAGE_CORRELATION,  # source of a series: image correlation
    MEASURED,  # word in `forecast.covariates` for all series that can drive motion, `measured`
    SITE_ID,  # regular expression for site ids
    VELOCITY_MAP,  # source of a series: velocity map
    AnomalyPlan,  # which anomaly detectors run at a site, how often, and the false alarm budget
    Binding,  # one `[[decoder]]` of a site file
    Calculation,  # how a series is computed from other series
    Criterion,  # one `[[criterion]]` of a site file
    MovementPlan,  # settings of the movement assessment: history, failure velocity, and each stage
    Origin,  # reference position from which displacement of a station is measured
    Recipient,  # a person or team to be notified: channels, levels, escalation
    SeriesSpec,  # one series of a site file
    Site,  # one slope, as its site file describes it
    Station,  # one station of a site file
    StationId,  # type of a station id in configuration tables
    Team,  # people on duty in turn; the plan is stored in the database
    TotalStation,  # one `[[total_station]]` of a site file
)
from monitor.sites.schema import (
    LevelsTable,  # model of the table [levels] of a site file
    LevelTable,  # model of a table of one level in a site file
    QuantityTable,  # model of the table [[quantity]] of a site file
    SeriesTable,  # model of a table of one series in a site file
    Table,  # type of any table of a site file (Any)
    make_site_file_model,  # return the model of a site file, with sections of plugins
)
from monitor.sites.shadow import (
    list_notified_people,  # return the channels of each person whom recipients stand for
)
from monitor.sites.topics import (
    TOPIC_ROOT,  # root of the MQTT topics of the service, `slopeward/v1`
)
from monitor.sites.units import (
    UNITS,  # known units: unit to (canonical unit, factor, offset)
)
from monitor.sites.watched import (
    ANOMALY_CAUSES,  # causes of an anomaly that a person can record
    COMPONENTS,  # quantities of horizontal displacement, east and north
    CONFIRMED,  # verdict of a person: the anomaly is confirmed
    DISMISSED,  # verdict of a person: the anomaly is dismissed
    MOTION_GROUP,  # name of the group of all motion series of a site, `motion`
    SCALARS,  # quantities of motion as a single value, in order of preference
    STATE_GROUPS,  # quantities that describe the state of the slope beside motion, by the group they are forecast in
    VERDICTS,  # verdicts of people on an anomaly
    WITHDRAWN,  # verdict of a person: an earlier verdict is withdrawn
    SeriesGroup,  # series that detectors compare with each other, on one interval
    WatchedSeries,  # a stored series that detectors process, with its station and declaration
    find_motion,  # return the motion series of all stations: one scalar each, or east and north
    find_watched_motion,  # return the motion series that detectors process together
    group_forecast_series,  # return the stored series that are forecast, by kind and unit, motion first
    list_groups,  # return the series groups that detectors process, motion first
    number_declared_series,  # return a number for each declared series, in place of ids of stored series
)
from monitor.sites.witnesses import (
    find_voting_series,  # return (station, quantity) of all series that a vote can be based on
    list_criteria_needing_proof,  # return the criteria of a site that need a passed model test to count
)

__all__ = [
    "ANOMALY_CAUSES",
    "BATTERY_LEVEL",
    "BATTERY_VOLTAGE",
    "COMPONENTS",
    "CONFIRMED",
    "DEPTH_PREFIX",
    "DISMISSED",
    "EARTH_RADIUS_M",
    "ELLIPSOID",
    "EXAMPLES_COMMENT",
    "FEWEST_INTERVALS",
    "GROUND_MOTION_PREFIXES",
    "HOUSEKEEPING",
    "IMAGE_CORRELATION",
    "LANDSLIDE_PREFIX",
    "LONGEST_WAIT_S",
    "MEASURED",
    "MODELLED_MOTION_PREFIXES",
    "MOTION_GROUP",
    "MOTION_PREFIXES",
    "PARENT_KINDS",
    "QUANTITIES",
    "SCALARS",
    "SIGNAL_STRENGTH",
    "SITE_ID",
    "STATE_GROUPS",
    "TOPIC_ROOT",
    "UNITS",
    "UNKNOWN_STAGE",
    "VELOCITY_MAP",
    "VELOCITY_MAP_QUANTITIES",
    "VERDICTS",
    "WITHDRAWN",
    "AnomalyPlan",
    "Binding",
    "Calculation",
    "Criterion",
    "LevelTable",
    "LevelsTable",
    "MovementPlan",
    "Origin",
    "Parent",
    "Place",
    "QuantityTable",
    "Recipient",
    "SeriesGroup",
    "SeriesSpec",
    "SeriesTable",
    "Site",
    "Station",
    "StationId",
    "Table",
    "Team",
    "TotalStation",
    "WatchedSeries",
    "convert",
    "convert_difference",
    "crosses_itself",
    "explain_unit",
    "find_channel_traits",
    "find_hull",
    "find_motion",
    "find_topic_fault",
    "find_voting_series",
    "find_watched_motion",
    "find_weaknesses",
    "group_forecast_series",
    "is_raw",
    "is_unit_of",
    "list_children",
    "list_criteria_needing_proof",
    "list_groups",
    "list_notified_people",
    "list_units",
    "load_criteria",
    "load_site",
    "make_site_file_model",
    "measure_area_m2",
    "measure_ground_distance_m",
    "number_declared_series",
    "parse_site",
    "read_trace",
    "scan_sites",
    "slowest_cadence_s",
    "split_channel",
    "split_suffix",
    "stage_cadence",
    "write_first_site",
]
