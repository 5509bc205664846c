"""The service file and secrets."""

from monitor.sections import (
    Duration,  # type of a key such as `window = "1d"`; its value is in seconds
    Faults,  # collects all errors of a configuration file to raise them together
    Horizon,  # type of a configuration value: duration, bare numbers are days, in seconds
    Section,  # base class of a configuration table: frozen, rejects unknown keys
    describe_unknown,  # return an error text for an unknown key, with the nearest known one
    find_table,  # return the model of a nested configuration table in a type annotation, or None
    find_tables,  # yield headings and models of all tables of a configuration file
    make_record,  # build a dataclass record from a configuration table and further values
    read_text,  # read a configuration file as text; raises ConfigError
    read_toml,  # parse TOML text; raises ConfigError with file, line and column
)
from monitor.settings import (
    service,  # module: the service file with its defaults and overrides
)
from monitor.settings.secret_variables import (
    find_secret,  # return the secret in a variable or in its `_FILE`, or None
)
from monitor.settings.service import (
    VARIABLE_PREFIX,  # prefix of environment variables of the program, `SLOPEWARD_`
    ComputeSection,  # section [compute] of the service file: limits of jobs and workers
    OidcSection,  # section [oidc] of the service file: identity provider for logins
    PathsSection,  # section [paths] of the service file: folders
    ServiceConfig,  # the service file with all defaults
    is_safe_for_logins,  # return whether logins may be sent to an address: https or this machine
    load_service,  # load the service file, environment overrides and secrets; raises ConfigError
    parse_service,  # parse the text of a service file with environment overrides
)
from monitor.settings.sources import (
    FOLDER_KIND,  # kind of a source that is a folder, `folder`
    INFLUXDB_KIND,  # kind of a source that reads an InfluxDB server, `influxdb`
    ROW_KINDS,  # kinds of sources that read rows of a table instead of files
    SQL_KIND,  # kind of a source that reads a table of a database, `sql`
    SourceSection,  # table [[source]] of the service file: files or rows read from one server
)
from monitor.settings.vault import (
    open_vault,  # return the vault that encrypts secrets in the database
)

__all__ = [
    "FOLDER_KIND",
    "INFLUXDB_KIND",
    "ROW_KINDS",
    "SQL_KIND",
    "VARIABLE_PREFIX",
    "ComputeSection",
    "Duration",
    "Faults",
    "Horizon",
    "OidcSection",
    "PathsSection",
    "Section",
    "ServiceConfig",
    "SourceSection",
    "describe_unknown",
    "find_secret",
    "find_table",
    "find_tables",
    "is_safe_for_logins",
    "load_service",
    "make_record",
    "open_vault",
    "parse_service",
    "read_text",
    "read_toml",
    "service",
]
