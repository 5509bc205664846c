"""Reading of messages and files: decoders, units, times, columns."""

from monitor.ingest.decoders.strict_json import (
    read_time,  # parse an instant from RFC 3339 text or from a number with its unit
)
from monitor.ingest.files.campbell import (
    is_campbell,  # return whether a file begins like TOB1 or CSIXML
    read_units,  # read the unit of each column; raises ConfigError for a damaged header
)
from monitor.ingest.files.mapping import (
    MISSING,  # default texts of a cell without a measurement
    ColumnRule,  # meaning of one value column: station, quantity, unit, sigma column
    TableMapping,  # mapping of a wide table: time, columns, layout, number format
    is_missing,  # return whether a cell means "no measurement"
    load_mapping,  # load a mapping file; raises ConfigError
    name_station,  # convert a name written by people into a station id; "" if impossible
)
from monitor.ingest.files.selecting import (
    SelectedSeries,  # one series as numbers: name, unit, epoch seconds, values
    read_selected,  # read named series from a neutral long table
)
from monitor.ingest.files.tables import (
    BEFORE_HEADER,  # extra key of a row above the column names: its line number and that of the names
    LINE_LIMIT,  # longest line of a text file, characters
    WHITESPACE,  # delimiter setting for any run of blanks
    WORKBOOKS,  # file suffixes of spreadsheet workbooks
    Layout,  # how a table is laid out: delimiter, header, encoding, fixed widths, sheets
    find_day_zero,  # return the date origin of a workbook if it is not 1899-12-30, else None
    limit_lines,  # iterate over the lines of a text; raises ConfigError for a line over the limit
    list_files,  # return the file itself, or the tables of a folder sorted by name
    name_columns,  # return unique column names for header cells; "" for an empty cell
    open_rows,  # context manager: column names and rows of a CSV, Parquet or workbook file
    read_workbook,  # read rows of visible worksheets of a workbook by sheet name
)
from monitor.ingest.files.time_rule import (
    DATENUM,  # time format: MATLAB day number, such as 739651.25
    EXCEL,  # time format: spreadsheet days since 1899-12-30, such as 45352.25
    JD,  # time format: Julian day, such as 2460709.75
    MJD,  # time format: modified Julian day, such as 60709.25
    WEEKDAY,  # beginning of a time pattern with a weekday, as in "Mo, 3.2.2025"
    YEAR,  # time format: decimal year in UTC, such as 2011.4548
    YEAR_DAY_HHMM,  # time format: three columns for year, day of year and HHMM
    TimeRule,  # where the time of a row is and how it is written
    format_time_of_day,  # format a time of day as `HH:MM`, up to 24:00
    join_parts,  # join the date and time cells of a row into one text
    read_time_of_day,  # parse a time of day from 00:00 to 24:00; raises ValueError
)
from monitor.ingest.payload_limits import (
    PAYLOAD_LIMIT,  # largest payload of a message, bytes
)
from monitor.ingest.text.cells import (
    DIGITS,  # regular expression for a number in any convention, without exponent
    is_nameless,  # return whether a cell of a name column contains no name
    is_number,  # return whether a text is a number in any convention
    is_plain,  # return whether a text is a number, a time or a "no value" word
    is_time,  # return whether a text may be a date, a time of day or both
    normalise_number,  # convert the digits, minus sign and exponent of a number to Python spelling
)
from monitor.ingest.text.clocks import (
    BUDDHIST,  # name of the Buddhist era of dates, `buddhist`
    drop_weekday,  # remove a leading weekday from a date
    find_era,  # return the calendar era named beside a time; "" if none
    name_zone,  # return the time zone abbreviation at the end of a time; "" if none is known
    normalise_time,  # normalise blanks, digits, AM/PM and fraction of a time text
    translate_months,  # translate month names in a date to English abbreviations
)
from monitor.ingest.text.counts import (
    GPS,  # name of the GPS time scale, `gps`
    GPS_BEGIN,  # origin of GPS time, 1980-01-06
    J2000,  # origin of J2000 times, 2000-01-01 12:00 UTC
    SECONDS_PER_UNIT,  # seconds per unit of numeric time formats, by unit
    find_time_count,  # return unit and origin of numeric times from a column name, or None
    is_gps,  # return whether a column name states GPS time
)
from monitor.ingest.text.encodings import (
    find_bare_utf_16,  # return the encoding of UTF-16 text without byte order mark; "" if it is not
    strip_zeros,  # remove zero bytes that a power failure leaves in a file
)
from monitor.ingest.text.heads import (
    Heads,  # header of a table; recognises and skips repeated headers in later lines
    is_annotation,  # return whether a line is a database annotation above the column names
    names_rise,  # return whether column names are rising numbers, such as depths
)
from monitor.ingest.text.plausible_times import (
    EARLIEST_TIME,  # earliest plausible time of a reading, 1950
    doubt_century,  # return a text that two-digit years are ambiguous, or None
    doubt_span,  # return why the time span of a record is implausible, or None
    doubt_unset,  # return a text that the first times come from an unset clock, or None
)
from monitor.ingest.text.time_words import (
    COUNT_UNITS,  # units of `SECONDS_PER_UNIT`, by the words for them in several languages
    TIME_COLUMN_NAME,  # regular expression for names of time columns
    compile_alternatives,  # return a regular expression for any of several words, the longest first
)
from monitor.ingest.text.units import (
    is_sure_unit,  # return whether a word is a unit wherever it occurs in a name
    join_depths,  # write an instrument depth in a column name as one word, such as `5m`
    read_unit,  # return the unit that a cell contains, or None
    unit_of_header,  # return the unit stated in a column name, or None
)
from monitor.ingest.total_stations import (
    DISPLACEMENT_OF,  # displacement by coordinate: `position_east` to `displacement_east`, and so on
    POLAR,  # quantities that a total station measures: slope distance, horizontal angle, zenith angle
    SLOPE_DISTANCE,  # quantity of the slope distance of a total station, `slope_distance`
    compute_coordinates_m,  # compute east, north and up of a prism from the distance and angles of a total station
)

__all__ = [
    "BEFORE_HEADER",
    "BUDDHIST",
    "COUNT_UNITS",
    "DATENUM",
    "DIGITS",
    "DISPLACEMENT_OF",
    "EARLIEST_TIME",
    "EXCEL",
    "GPS",
    "GPS_BEGIN",
    "J2000",
    "JD",
    "LINE_LIMIT",
    "MISSING",
    "MJD",
    "PAYLOAD_LIMIT",
    "POLAR",
    "SECONDS_PER_UNIT",
    "SLOPE_DISTANCE",
    "TIME_COLUMN_NAME",
    "WEEKDAY",
    "WHITESPACE",
    "WORKBOOKS",
    "YEAR",
    "YEAR_DAY_HHMM",
    "ColumnRule",
    "Heads",
    "Layout",
    "SelectedSeries",
    "TableMapping",
    "TimeRule",
    "compile_alternatives",
    "compute_coordinates_m",
    "doubt_century",
    "doubt_span",
    "doubt_unset",
    "drop_weekday",
    "find_bare_utf_16",
    "find_day_zero",
    "find_era",
    "find_time_count",
    "format_time_of_day",
    "is_annotation",
    "is_campbell",
    "is_gps",
    "is_missing",
    "is_nameless",
    "is_number",
    "is_plain",
    "is_sure_unit",
    "is_time",
    "join_depths",
    "join_parts",
    "limit_lines",
    "list_files",
    "load_mapping",
    "name_columns",
    "name_station",
    "name_zone",
    "names_rise",
    "normalise_number",
    "normalise_time",
    "open_rows",
    "read_selected",
    "read_time",
    "read_time_of_day",
    "read_unit",
    "read_units",
    "read_workbook",
    "strip_zeros",
    "translate_months",
    "unit_of_header",
]
