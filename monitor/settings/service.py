"""The service file: its sections, keys and defaults, overridden by environment variables.

`meanings.toml` beside this module describes the keys for the documentation.
"""

import os
import socket
from collections.abc import Mapping
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationError, ValidationInfo, field_validator, model_validator

from monitor.errors import ConfigError
from monitor.plugins import implementations
from monitor.sections import (
    Duration,
    Language,
    Names,
    NeverOrDuration,
    Retention,
    Section,
    Zone,
    describe_unknown,
    explain,
    read_text,
    read_toml,
    split_names,
)
from monitor.settings.reports import ReportSection
from monitor.settings.sources import SourceSection
from monitor.sites.channels import find_topic_fault
from monitor.sites.quantities import QUANTITIES
from monitor.text.catalogue import ENGLISH
from monitor.text.names import fold_name

DEFAULT_PATH: Final = "configs/slopeward.toml"
VARIABLE_PREFIX: Final = "SLOPEWARD_"
# Section and key of secrets. They come from the environment or from a file that `KEY_file` names, because the service
# file may be under version control.
SECRETS: Final = {
    ("broker", "password"),
    ("smtp", "password"),
    ("signing", "keys"),
    ("oidc", "client_secret"),
    ("second_factor", "key"),
    ("cap", "key"),
    ("push", "key"),
    ("sms", "token"),
}
# Hosts of the push services of Chrome and Edge, Firefox, Safari, and old versions of Edge. `*.` = any name below.
PUSH_SERVICES: Final = ("fcm.googleapis.com", "*.push.services.mozilla.com", "*.push.apple.com", "*.notify.windows.com")


class DatabaseSection(Section):
    """[database]."""

    url: str = "sqlite:///slopeward.db"

    @field_validator("url")
    @classmethod
    def _is_database_url(cls, value: str) -> str:
        scheme, mark, _ = value.partition("://")
        if not mark or scheme.partition("+")[0] not in {"sqlite", "postgresql"}:
            # The rest of the value may contain a password.
            got = f"{scheme[:20]}://..." if mark else "a value without ://"
            raise ValueError(f"expected sqlite:///file or postgresql+psycopg://user@host/db, got {got}")
        return value


class StandbySection(Section):
    """[standby]: two services with one PostgreSQL. One decides, and the other waits to take over."""

    enabled: bool = False
    name: str = Field(default="", max_length=40, pattern=r"^[\w.-]*$")


class BrokerSection(Section):
    """[broker]: `managed` starts Mosquitto with durable settings. `demo` starts a broker that keeps nothing."""

    mode: Literal["managed", "external", "demo"] = "managed"
    url: str = "mqtt://127.0.0.1:1883"
    client_id: str = Field(default="slopeward", min_length=1)
    username: str = ""
    password: str = Field(default="", repr=False)
    password_file: str = ""
    ca_file: str = ""
    data: str = "var/broker"
    anonymous: bool = False
    instruments_url: str = ""

    @field_validator("url", "instruments_url")
    @classmethod
    def _is_broker_url(cls, value: str, info: ValidationInfo) -> str:
        if not value and info.field_name == "instruments_url":
            return value
        parts = urlsplit(value)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in {"mqtt", "mqtts"} or not parts.hostname or port == -1:
            raise ValueError(f"expected mqtt://host:port or mqtts://host:port, got {value!r}")
        if parts.password:
            raise ValueError("expected no password in the URL; set SLOPEWARD_BROKER__PASSWORD or password_file")
        return value

    @property
    def host(self) -> str:
        """Return the host of the broker."""
        return urlsplit(self.url).hostname or "127.0.0.1"

    @property
    def port(self) -> int:
        """Return the port of the broker. If the URL has no port: 1883, or 8883 with TLS."""
        return urlsplit(self.url).port or (8883 if self.tls else 1883)

    @property
    def tls(self) -> bool:
        """Return whether connections are encrypted (`mqtts`)."""
        return urlsplit(self.url).scheme == "mqtts"


class SigningSection(Section):
    """[signing]: keys that sign published messages. Empty: a file in `paths.state`, created at the first start."""

    keys: str = Field(default="", repr=False)
    keys_file: str = ""


class SecondFactorSection(Section):
    """[second_factor]: key that encrypts the secrets of authenticator apps. Empty: a file in `paths.state`."""

    key: str = Field(default="", repr=False)
    key_file: str = ""


class PathsSection(Section):
    """[paths]: relative paths are relative to the working directory.

    The files below the folder of scenes have hidden names, which results of scenes never have.
    """

    sites: Path = Path("configs/sites")
    inbox: Path = Path("inbox")
    models: Path = Path("models")
    state: Path = Path("var")

    def relief_path(self, site_id: str) -> Path:
        """Return the path of the shaded relief of a site. The file exists once the relief was drawn."""
        return self.inbox.parent / "scenes" / site_id / ".relief.pmtiles"

    def susceptibility_path(self, site_id: str) -> Path:
        """Return the path of the picture of a site's susceptibility map. A JSON file beside it describes the map."""
        return self.inbox.parent / "scenes" / site_id / ".susceptibility.png"

    def velocity_zones_path(self, site_id: str) -> Path:
        """Return the path of the zones of the newest velocity map of a site: GeoJSON features with `name` and `end`."""
        return self.inbox.parent / "scenes" / site_id / ".velocity.json"


class WebSection(Section):
    """[web]."""

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=1, le=65535)
    public_url: str = ""
    login_to_read: bool = False
    trusted_proxies: Names = ()
    allowed_hosts: Names = ()
    timezone: Zone = "UTC"
    sign_in_lasts_s: Duration = Field(default=43200.0, alias="sign_in_lasts", ge=300.0, le=30 * 86400.0)
    idle_after_s: Duration = Field(default=43200.0, alias="idle_after", ge=300.0, le=30 * 86400.0)

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            try:
                ip_network(network, strict=False)
            except ValueError:
                raise ValueError(f"expected addresses or networks such as '10.0.0.0/24', got {network!r}") from None
        return value

    @property
    def url(self) -> str:
        """Return the address of the page, with which links in messages start."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")


def is_safe_for_logins(address: str) -> bool:
    """Return whether logins may be sent to an address: it is encrypted (https), or on this machine.

    >>> is_safe_for_logins("https://id.example.org"), is_safe_for_logins("http://id.example.org")
    (True, False)
    """
    parts = urlsplit(address)
    if parts.scheme == "https":
        return bool(parts.hostname)
    return parts.scheme == "http" and parts.hostname in {"127.0.0.1", "::1", "localhost"}


class OidcSection(Section):
    """[oidc]: a provider of logins (OpenID Connect). Without an issuer there is none."""

    issuer: str = ""
    name: str = "your organisation"
    client_id: str = ""
    client_secret: str = Field(default="", repr=False)
    client_secret_file: str = ""
    scope: str = Field(default="openid profile", pattern=r"(^|.* )openid( .*|$)")
    name_claim: str = Field(default="preferred_username", min_length=1)
    groups_claim: str = Field(default="groups", min_length=1)
    roles: dict[str, Literal["viewer", "operator", "admin"]] = Field(default_factory=dict)
    sites: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    second_factor: Literal["either", "provider", "ours"] = "either"
    second_factor_acr: tuple[str, ...] = ()
    only: bool = False
    emergency: tuple[str, ...] = ()

    @field_validator("issuer")
    @classmethod
    def _is_issuer(cls, value: str) -> str:
        if value and (not is_safe_for_logins(value) or "?" in value or "#" in value):
            raise ValueError(f"expected an address such as https://id.example.org, got {value!r}")
        return value

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        if self.issuer and not self.client_id:
            raise ValueError("expected client_id beside issuer: the id of this service at the provider")
        if self.issuer and not self.roles:
            raise ValueError('expected [oidc.roles] with at least one group, such as "slope-duty" = "operator"')
        if self.only and not (self.issuer and self.emergency):
            raise ValueError(
                'only: expected an issuer, and emergency = ["NAME"]: accounts with a password while it is unavailable'
            )
        return self

    def can_use_password(self, account: str) -> bool:
        """Return whether an account may log in on the page with its password."""
        return not self.only or fold_name(account) in map(fold_name, self.emergency)


class MapSection(Section):
    """[map]: a folder of PMTiles that are drawn below the maps of the page. Empty: none."""

    tiles: str = ""


class ScheduleSection(Section):
    """[schedule]."""

    evaluate_tick_s: Duration = Field(default=60.0, alias="evaluate_tick")

    @property
    def stale_after(self) -> timedelta:
        """Return the age from which a decision no longer describes the present."""
        return timedelta(seconds=max(10.0 * self.evaluate_tick_s, 60.0))


class ComputeSection(Section):
    """[compute]."""

    dask: str = Field(default="", pattern=r"^((tcp|tls)://.+)?$")
    dask_ca_file: str = ""
    dask_cert_file: str = ""
    dask_key_file: str = ""
    jobs_at_once: int = Field(default=2, ge=1, le=256)
    job_limit_s: Duration = Field(default=900.0, alias="job_limit")
    # PyTorch and its libraries map 0.7 GiB at their start.
    job_memory_gib: float = Field(default=8.0, ge=1)
    job_file_gib: float = Field(default=16.0, gt=0)

    @model_validator(mode="after")
    def _is_encrypted(self) -> Self:
        files = (self.dask_ca_file, self.dask_cert_file, self.dask_key_file)
        if any(files) and not (all(files) and self.dask.startswith("tls://")):
            raise ValueError("dask: expected dask_ca_file, dask_cert_file and dask_key_file beside a tls:// address")
        return self


class BackupSection(Section):
    """[backup]: `every_s` is None if no backups are made."""

    every_s: NeverOrDuration = Field(default=None, alias="every")
    folder: str = "var/backups"
    keep: int = Field(default=7, ge=1)
    prove: bool = True

    @property
    def tolerance_s(self) -> float:
        """Return how many seconds before its due time a backup may be made, because the job runs only once an hour."""
        return min(1800.0, (self.every_s or 0.0) / 2)


class ThinningSection(Section):
    """[retention.quantities] NAME: how long readings of a quantity are kept, and what is kept afterwards."""

    raw_s: Duration = Field(alias="raw")
    then: Literal["hourly", "daily", "nothing"]


class RetentionSection(Section):
    """[retention]: None keeps rows forever."""

    observations_s: Retention = Field(default=None, alias="observations")
    forecasts_s: Retention = Field(default=7776000.0, alias="forecasts")
    scores_s: Retention = Field(default=None, alias="scores")
    quarantine_s: Retention = Field(default=7776000.0, alias="quarantine")
    photos_s: Retention = Field(default=None, alias="photos")
    quantities: dict[str, ThinningSection] = Field(default_factory=dict)

    def ages_s(self) -> dict[str, float | None]:
        """Return the age in seconds for each key of the section. None keeps all rows."""
        return {
            "observations": self.observations_s,
            "forecasts": self.forecasts_s,
            "scores": self.scores_s,
            "quarantine": self.quarantine_s,
            "photos": self.photos_s,
        }

    @field_validator("quantities")
    @classmethod
    def _are_known(cls, value: dict[str, ThinningSection]) -> dict[str, ThinningSection]:
        for name in value:
            if name not in QUANTITIES:
                raise ValueError(describe_unknown(name, QUANTITIES))
        return value


class LimitsSection(Section):
    """[limits]: bounds that keep one sender or reader from using up what others need."""

    readings_per_s: float = Field(default=20.0, gt=0)
    readings_at_once: int = Field(default=200_000, ge=1)
    undeclared_stations: int = Field(default=100, ge=0)
    quarantine_mb: int = Field(default=256, ge=1)
    quarantine_source_mb: int = Field(default=32, ge=1)
    reader_s: float = Field(default=120.0, ge=1)
    reserve_mb: int = Field(default=64, ge=0)
    upload_mb: int = Field(default=64, ge=1, le=4096)
    disk: str = ""


class WatchdogSection(Section):
    """[watchdog]."""

    ping_url: str = Field(default="", pattern=r"^(https?://.+)?$")


class DutySection(Section):
    """[duty]: when an urgent alert that nobody acknowledged becomes an alarm, and how often it is repeated."""

    unconfirmed_after_s: Duration = Field(default=600.0, alias="unconfirmed_after", ge=60.0)
    unconfirmed_again_s: Duration = Field(default=600.0, alias="unconfirmed_again", ge=60.0)


class SmtpSection(Section):
    """[smtp]: the mail server of `email:` channels."""

    host: str = ""
    port: int = Field(default=587, ge=1, le=65535)
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str = ""
    password: str = Field(default="", repr=False)
    password_file: str = ""
    sender: str = "slopeward@localhost"


class CapSection(Section):
    """[cap]: hazard alerts for other warning systems, signed if there is a key."""

    sender: str = Field(default="", pattern=r"^[^\s,<&]*$")
    expires_s: NeverOrDuration = Field(default=None, alias="expires")
    key: str = Field(default="", repr=False)
    key_file: str = ""
    certificate_file: str = ""

    @model_validator(mode="after")
    def _check_pair(self) -> Self:
        if bool(self.key) != bool(self.certificate_file):
            raise ValueError("expected key_file and certificate_file together; `slopeward notify cap key` creates both")
        return self

    @property
    def valid_for(self) -> timedelta | None:
        """Return how long a message is valid. None: until the next message."""
        return None if self.expires_s is None else timedelta(seconds=self.expires_s)


class PushSection(Section):
    """[push]: messages to browsers. `slopeward notify push keys` creates the file that is used if `key` is empty."""

    key: str = Field(default="", repr=False)
    key_file: str = ""
    contact: str = Field(default="", pattern=r"^((mailto:|https://).+)?$")
    services: Names = PUSH_SERVICES


class SmsSection(Section):
    """[sms]: the gateway of channels `sms:` and `voice:`: a provider with Twilio's interface, or a modem with gammu."""

    gateway: Literal["", "http", "modem"] = ""
    url: str = Field(default="https://api.twilio.com", pattern=r"^https?://.+[^/]$")
    account: str = Field(default="", pattern=r"^[A-Za-z0-9-]*$")
    token: str = Field(default="", repr=False)
    token_file: str = ""
    sender: str = ""
    modem: str = "var/modem"
    reply_for_s: Duration = Field(default=14400.0, alias="reply_for")

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        if self.gateway == "http" and not (self.account and self.sender):
            raise ValueError('gateway = "http": expected account and sender beside it')
        return self


class SirenSection(Section):
    """[siren]: orders to sirens and signs (channels `siren:`)."""

    valid_for_s: Duration = Field(default=300.0, alias="valid_for", ge=10.0)
    sound_for_s: Duration = Field(default=180.0, alias="sound_for", ge=1.0)
    confirm_within_s: Duration = Field(default=30.0, alias="confirm_within", ge=1.0)


class ChannelsSection(Section):
    """[channels]: how often and when each channel is tested, and to which address a test is sent."""

    test_every_s: NeverOrDuration = Field(default=None, alias="test_every")
    test_at: tuple[Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")], ...] = ()
    test_to: dict[str, str] = Field(default_factory=dict)

    @field_validator("test_to")
    @classmethod
    def _are_channels(cls, value: dict[str, str]) -> dict[str, str]:
        for channel, target in value.items():
            if channel.partition(":")[0] != target.partition(":")[0]:
                raise ValueError(f"{channel!r}: expected a target of the same kind, got {target!r}")
            if fault := find_topic_fault(target):
                raise ValueError(fault)
        return value


class LogSection(Section):
    """[log]."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


class LanguageSection(Section):
    """[language]."""

    default: Language = ENGLISH
    cap: Annotated[tuple[Language, ...], BeforeValidator(split_names)] = Field(default=(ENGLISH,), min_length=1)


class ServiceConfig(Section):
    """The service file, with defaults for missing keys. Frozen."""

    REMOVED_KEYS: ClassVar[Mapping[str, str]] = {
        "ingest": "one process stores the readings of all sites; delete the section [ingest]",
    }

    database: DatabaseSection = DatabaseSection()
    standby: StandbySection = StandbySection()
    broker: BrokerSection = BrokerSection()
    signing: SigningSection = SigningSection()
    second_factor: SecondFactorSection = SecondFactorSection()
    paths: PathsSection = PathsSection()
    web: WebSection = WebSection()
    oidc: OidcSection = OidcSection()
    map: MapSection = MapSection()
    schedule: ScheduleSection = ScheduleSection()
    compute: ComputeSection = ComputeSection()
    retention: RetentionSection = RetentionSection()
    backup: BackupSection = BackupSection()
    limits: LimitsSection = LimitsSection()
    watchdog: WatchdogSection = WatchdogSection()
    smtp: SmtpSection = SmtpSection()
    duty: DutySection = DutySection()
    cap: CapSection = CapSection()
    push: PushSection = PushSection()
    sms: SmsSection = SmsSection()
    siren: SirenSection = SirenSection()
    channels: ChannelsSection = ChannelsSection()
    log: LogSection = LogSection()
    language: LanguageSection = LanguageSection()
    source: tuple[SourceSection, ...] = ()
    report: tuple[ReportSection, ...] = ()

    @field_validator("source")
    @classmethod
    def _have_unique_names(cls, value: tuple[SourceSection, ...]) -> tuple[SourceSection, ...]:
        names = [source.name for source in value]
        repeated = next((name for name in names if names.count(name) > 1), None)
        if repeated is not None:
            raise ValueError(f"two tables have the name {repeated!r}")
        return value

    @model_validator(mode="after")
    def _check_standby(self) -> Self:
        if self.standby.enabled and not self.database.url.startswith("postgresql"):
            raise ValueError(
                "standby.enabled: expected a PostgreSQL database, because only one machine can use a SQLite file"
            )
        if self.standby.enabled and self.broker.mode != "external":
            raise ValueError('standby.enabled: expected broker.mode = "external", because both services use one broker')
        return self

    @model_validator(mode="after")
    def _has_features(self) -> Self:
        hook_names = {
            "compute.dask": "compute_cluster" if self.compute.dask else None,
            "standby.enabled": "wait_for_turn" if self.standby.enabled else None,
        }
        for key, hook_name in hook_names.items():
            if hook_name is not None and not implementations(hook_name):
                raise ValueError(f"{key}: this key needs the feature scale_out, which is not installed")
        return self

    @property
    def service_name(self) -> str:
        """Return the name that distinguishes two services: `standby.name`, or the name of the machine."""
        return self.standby.name or socket.gethostname()


def load_service(path: str | Path | None = None, environment: Mapping[str, str] | None = None) -> ServiceConfig:
    """Read the service file, its overrides in the environment, and the secrets.

    Args:
        path: The file. The default is the file that SLOPEWARD_CONFIG names, or configs/slopeward.toml if it exists.
            Without a file all keys have their defaults.
        environment: Environment variables. The default is those of this process.

    Raises:
        ConfigError: The file cannot be used. The text names file, key and what was expected.
    """
    environment = os.environ if environment is None else environment
    text, name = read_service_file(path, environment)
    return parse_service(text, name, environment)


def read_service_file(path: str | Path | None, environment: Mapping[str, str]) -> tuple[str, str]:
    """Return the text of the service file, and its name for messages. The arguments are those of `load_service`.

    Raises:
        ConfigError: The file cannot be read.
    """
    chosen_path = path or environment.get("SLOPEWARD_CONFIG")
    if chosen_path is None and not Path(DEFAULT_PATH).exists():
        return "", "defaults"
    file = Path(chosen_path or DEFAULT_PATH)
    return read_text(file), str(file)


def parse_service(text: str, name: str, environment: Mapping[str, str] | None = None) -> ServiceConfig:
    """Parse the text of a service file. Overrides are taken from `environment`, by default none.

    Raises:
        ConfigError: The text cannot be used. `name` stands for the file in its messages.
    """
    document: dict[str, Any] = read_toml(text, name)
    for section, key in SECRETS:
        table = document.get(section)
        if isinstance(table, dict) and key in table:
            variable = f"{VARIABLE_PREFIX}{section}__{key}".upper()
            raise ConfigError(
                f"{name}: {section}.{key}: a secret must not be in this file; set {variable} or {key}_file"
            )
    origins = _apply_environment(document, environment or {}, name)
    for section, key in SECRETS:
        table = document.get(section)
        if isinstance(table, dict) and table.get(f"{key}_file") and not table.get(key):
            table[key] = read_text(Path(str(table[f"{key}_file"]))).strip()
    try:
        return ServiceConfig.model_validate(document)
    except ValidationError as error:
        raise explain(error, name, names=origins) from None


def _apply_environment(document: dict[str, Any], environment: Mapping[str, str], name: str) -> dict[str, str]:
    """Write variables SLOPEWARD_SECTION__KEY into the document. Return the variable of each overridden key."""
    origins = {}
    for variable in sorted(environment):
        if not variable.startswith(VARIABLE_PREFIX) or "__" not in variable:
            continue
        section, _, key = variable.removeprefix(VARIABLE_PREFIX).lower().partition("__")
        field = ServiceConfig.model_fields.get(section)
        table = field.annotation if field else None
        keys = table.written_keys() if isinstance(table, type) and issubclass(table, Section) else []
        if key not in keys:
            problem = describe_unknown(key, keys) if keys else ServiceConfig.describe_unknown_key(section)
            raise ConfigError(f"environment {variable}: {problem}")
        table = document.setdefault(section, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{name}: {section}: expected a table")
        table[key] = environment[variable]
        origins[f"{section}.{key}"] = f"environment {variable}"
    return origins
