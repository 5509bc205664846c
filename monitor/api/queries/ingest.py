"""What the database holds: reading of messages and files: decoders, units, times, columns."""

from monitor.ingest.calculations import (
    CalculationThread,  # thread that runs a `Calculation` of a feature within a processor share
    WaitingValues,  # what a site still has to compute: since when, and the slowest series
)
from monitor.ingest.decoders.decoder import (
    SeriesTarget,  # station, quantity and unit of a name that a device or a table uses
    read_series,  # return what each name of a device means, from the site file's binding
)
from monitor.ingest.decoders.sensorthings import (
    find_newest,  # return the newest phenomenonTime of a page up to an instant, or None
    read_next_link,  # return the address of the next page of a list, or None
)
from monitor.ingest.files.gnss import (
    find_place,  # return latitude, longitude and height (deg, m) stated in a GNSS file, or None
)
from monitor.ingest.files.points import (
    PointsFile,  # an InSAR point file to be read into a site, with database and clock
    read_points,  # read an opened InSAR point file and store it, or only inspect it
)
from monitor.ingest.files.reader import (
    CheckedRow,  # type: a row in the long format, with the reason if it is rejected
    StationPlace,  # position of a station from the site file
    add_places,  # return the import options with what a site file states: places, origins, instruments
    find_by_name,  # return the longest name that a file name begins with, or None
)
from monitor.ingest.files.readers import (
    LONG,  # name of the neutral long format, `long`
    WIDE,  # name of the wide table format, `wide`
    # return all readers by name: those of this package, then those of plugins whose names are not taken
    list_readers,
    open_readings,  # return the open function of a readings format; raises ConfigError
)
from monitor.ingest.files.reading import (
    FileImport,  # import of one file of readings, in chunks, or as a dry run
    FileResult,  # result of a file import: counts of rows, reasons, time span, flags
    find_doubted,  # return what is implausible in a file, without the command line hint
    record_file,  # add an audit entry for an import that stored readings
    record_units,  # add an audit entry: who confirmed the units of a file
    renew_known_flags,  # renew flags of stored readings; returns sites whose file is not in force yet
    store_rows,  # store rows that do not come from a file, such as typed readings
)
from monitor.ingest.files.rtklib import (
    find_origin,  # return the first position accurate to millimetres in an RTKLIB file, as origin
)
from monitor.ingest.files.sandboxed_conversion import (
    ConvertedFile,  # a file converted in a sandboxed worker, whose lines can be read repeatedly
    open_converted,  # context manager: convert a file in a sandboxed worker; raises ConfigError
    open_plain,  # context manager: open the lines that `write_lines` wrote, checked one by one; raises ConfigError
    write_lines,  # write lines of readings as JSON, in a worker
)
from monitor.ingest.files.temporary import (
    open_empty_database,  # Yield a temporary SQLite database that contains the site file and nothing else
    # Import files into a temporary SQLite database, with the checks of every import, and yield it
    open_imported_files,
)
from monitor.ingest.grids.units import (
    choose_unit,  # return the unit stated by a grid file or by the user; raises ConfigError
    read_unit,  # return our spelling of a unit of a grid; unknown units unchanged
)
from monitor.ingest.message import (
    FILE_TOPIC,  # topic prefix of rejected file rows in the quarantine, `file/`
    StoredSites,  # sites with newly stored data, and those without data that can affect a vote
)
from monitor.ingest.pipeline import (
    Clock,  # type of a function that returns the current time
)
from monitor.ingest.queries.gaps import (
    GAPS_PER_TRANSACTION,  # largest number of gaps processed in one transaction
    Gap,  # a stored gap of a series: time span and number of missing readings
    GapCandidate,  # a time span in which a series may have no reading
    add_gaps,  # store the gaps without readings within candidate spans; returns how many are new
    fill_gaps,  # mark gaps as filled and store the parts that remain
    find_filled,  # find gaps of a site in which readings have arrived since
    load_gaps,  # load gaps that ended in a time span, as known at its end, oldest first
)
from monitor.ingest.queries.messages import (
    DENIED_BY_BROKER,  # rejection code of a message that the broker itself refused
    RejectedMessage,  # a rejected message or the rejected part of one, with its bytes and the reason
    delete_superseded_rows,  # delete quarantined rows of an earlier version of a file
)
from monitor.ingest.recognise import (
    choose_reader,  # return the name of the reader for a file and given options; raises ConfigError
    describe_known,  # return which reader a recognised file needs; "" for a table to be guessed
    find_form,  # return the format name of a file by its content; `wide` for an unknown table
)

__all__ = [
    "DENIED_BY_BROKER",
    "FILE_TOPIC",
    "GAPS_PER_TRANSACTION",
    "LONG",
    "WIDE",
    "CalculationThread",
    "CheckedRow",
    "Clock",
    "ConvertedFile",
    "FileImport",
    "FileResult",
    "Gap",
    "GapCandidate",
    "PointsFile",
    "RejectedMessage",
    "SeriesTarget",
    "StationPlace",
    "StoredSites",
    "WaitingValues",
    "add_gaps",
    "add_places",
    "choose_reader",
    "choose_unit",
    "delete_superseded_rows",
    "describe_known",
    "fill_gaps",
    "find_by_name",
    "find_doubted",
    "find_filled",
    "find_form",
    "find_newest",
    "find_origin",
    "find_place",
    "list_readers",
    "load_gaps",
    "open_converted",
    "open_empty_database",
    "open_imported_files",
    "open_plain",
    "open_readings",
    "read_next_link",
    "read_points",
    "read_series",
    "read_unit",
    "record_file",
    "record_units",
    "renew_known_flags",
    "store_rows",
    "write_lines",
]
