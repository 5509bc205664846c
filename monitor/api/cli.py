"""The command line: options, sessions and output that commands share."""

from monitor.cli import (
    session,  # module: what commands share: configuration, database, site lookup, output
)
from monitor.cli.acts import (
    add_acts,  # register the acts of a command group, such as `alerts`, as commands
)
from monitor.cli.commands import (
    find_full_name,  # return `alerts ack` for its short form `ack`, and any other name of a command as it is
    load_all_commands,  # return every command by full name; imports all of them
)
from monitor.cli.identity import (
    By,  # type of the option `--by`
    authenticate_actor,  # returns who acts, and opens the database for writing
    find_readable_sites,  # return the site asked for, or all sites this OS user may read (None = all)
    name_os_actor,  # return the operating system user as actor of a maintenance command
    require_readable,  # raise RefusedError unless this OS user may read a site
)
from monitor.cli.local_grid import (
    LocalGridOption,  # option: site file that describes the local coordinate system
    SmallestAreaOption,  # option --mmu: smallest area that is drawn, m²
    use_local_grid,  # Place files that are in the local coordinate system of a site, if the site has one
    use_local_grid_file,  # Place files that are in a local coordinate system as the site file describes
)
from monitor.cli.session import (
    EXIT_NOTHING,  # exit status when there is nothing to do or nothing valid, 4
    EXIT_PARTLY,  # exit status when only a part was done, 3
    LARGEST_SEED,  # largest seed of a random number generator, 2**32 - 1
    Commands,  # commands with the options `--config` and `--json`
    SinceOption,  # type of the option `--since`
    SiteArgument,  # type of the argument SITE of a command that needs a site
    SiteFilter,  # type of the option `--site` of a command that lists entries of all sites or of one
    UntilOption,  # type of the option `--until`
    UtcOption,  # type of the option `--utc`
    check_site,  # raise NotFoundError for a site id without file and without history
    exit_on,  # context manager: print errors of given types and exit with status NOTHING
    find_zones,  # return a function that returns the time zone of a site
    format_in_zone,  # format an instant in a time zone; a dash for None
    make_progress_printer,  # return a function that prints progress on a terminal, rate limited
    open_database,  # open the configured database; requires the current schema by default
    open_service,  # load the configuration and open the database at the current schema
    open_site,  # returns the service file, the open database and a site
    options,  # return the shared options (`--config`, `--json`) of the running command
    pick_site,  # return the site with an id from the site folder; raises NotFoundError
    print_if_json,  # print a value as JSON if `--json` was given; returns whether it was
    print_json,  # print a value as JSON on one line of stdout
    print_note,  # print a line for people on stderr
    print_result,  # print a result on stdout: JSON with sorted keys with `--json`, else a line
    print_result_in_order,  # the same, with the keys of the JSON object in the order in which they were added
    read_duration_s,  # parse a duration option such as `4h` into seconds; raises RefusedError
    read_instant,  # parse a time option with time zone; raises RefusedError
    read_period,  # parse `--since` and `--until`; raises RefusedError
    read_service,  # load the service configuration named by the running command
    require_any,  # print a line and exit with status NOTHING unless something was found
    require_station,  # raise NotFoundError, with the nearest spelling, unless a site has a station
    translate_in_zone,  # translate a message with its times in a time zone; text of people is kept
    warn,  # print warnings on stderr
)
from monitor.cli.site.evaluate import (
    describe_decision,  # return the lines that explain a decision at a terminal
    evaluate_now,  # evaluate a site with everything that is stored
)
from monitor.cli.site.explaining import (
    AlertId,  # type of a command line argument: number of an alert
)
from monitor.cli.training import (
    # Note the first SIGTERM or Ctrl-C in the returned list, so that training stops after the current step
    catch_stop_signals,
    show_progress,  # Print one line to stderr
)

__all__ = [
    "EXIT_NOTHING",
    "EXIT_PARTLY",
    "LARGEST_SEED",
    "AlertId",
    "By",
    "Commands",
    "LocalGridOption",
    "SinceOption",
    "SiteArgument",
    "SiteFilter",
    "SmallestAreaOption",
    "UntilOption",
    "UtcOption",
    "add_acts",
    "authenticate_actor",
    "catch_stop_signals",
    "check_site",
    "describe_decision",
    "evaluate_now",
    "exit_on",
    "find_full_name",
    "find_readable_sites",
    "find_zones",
    "format_in_zone",
    "load_all_commands",
    "make_progress_printer",
    "name_os_actor",
    "open_database",
    "open_service",
    "open_site",
    "options",
    "pick_site",
    "print_if_json",
    "print_json",
    "print_note",
    "print_result",
    "print_result_in_order",
    "read_duration_s",
    "read_instant",
    "read_period",
    "read_service",
    "require_any",
    "require_readable",
    "require_station",
    "session",
    "show_progress",
    "translate_in_zone",
    "use_local_grid",
    "use_local_grid_file",
    "warn",
]
