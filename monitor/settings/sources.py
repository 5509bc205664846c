"""Tables `[[source]]` of the service file: where files are fetched by schedule, how safely, and how they are read."""

import re
from typing import Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator, model_validator

from monitor.sections import Duration, Section

Kind = Literal["http", "sftp", "stac", "sensorthings", "nevada", "egms", "folder"]
FOLDER_KIND: Final = "folder"
# published patterns, so that a station or a product is all that a person writes
BASES: Final[dict[str, str]] = {
    "nevada": "https://geodesy.unr.edu/gps_timeseries/IGS20/tenv3",
    "egms": "https://egms.land.copernicus.eu/insar-api/archive/download",
}
FORMATS: Final[dict[str, str]] = {"nevada": "gnss", "egms": "egms"}
SCHEMES: Final[dict[str, tuple[str, ...]]] = {"sftp": ("sftp",)}
STALE_AFTER: Final = 3.0  # pauses without a success
STALE_LEAST_S: Final = 3600.0
_FILE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+@-]{0,199}")
_STREAM: Final = re.compile(r"[A-Za-z0-9_.:-]{1,100}")
_PATTERN: Final = re.compile(r"[A-Za-z0-9*?][A-Za-z0-9._=+@*?-]{0,199}")


class SourceSection(Section):
    """[[source]]: files of one server, for one site."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,47}$")
    kind: Kind
    site: str = Field(min_length=1)
    url: str = ""
    files: tuple[str, ...] = ()
    stations: tuple[str, ...] = ()
    frame: str = Field(default="IGS20", pattern=r"^[A-Z0-9]{2,8}$")
    every_s: Duration = Field(default=3600.0, alias="every")
    stale_after_s: Duration | None = Field(default=None, alias="stale_after")
    limit_s: Duration = Field(default=300.0, alias="limit")
    most_mb: float = Field(default=256.0, gt=0, le=8192)
    hosts: tuple[str, ...] = ()
    private: bool = False
    username: str = ""
    secret: str = Field(default="", pattern=r"^([A-Z][A-Z0-9_]*)?$")
    parameter: str = Field(default="", pattern=r"^[A-Za-z0-9_-]*$")
    key_file: str = ""
    host_key: str = ""
    ca_file: str = ""
    rolling: bool = False
    accept_units: bool = False
    format: str = ""
    mapping: str = ""
    set: str = ""
    direction: str = ""
    unit: str = ""
    station: str = ""
    quantity: str = ""
    variable: str = ""
    mask: str = ""
    time: str = Field(default="", pattern=r"^(gpst|utc)?$")
    stamp: str = Field(default="", pattern=r"^(interval_end|counter)?$")
    window_m: float | None = Field(default=None, gt=0)
    within_m: float | None = Field(default=None, gt=0)
    assets: dict[str, str] = Field(default_factory=dict)
    series: dict[str, str] = Field(default_factory=dict)
    since: str = Field(default="", pattern=r"^(\d{4}-\d\d-\d\d)?$")

    @field_validator("url")
    @classmethod
    def _is_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if not value:
            return value
        if parts.scheme not in {"http", "https", "sftp"} or not parts.hostname:
            raise ValueError("expected an address such as https://data.example.org/slope.csv or sftp://host/folder")
        if parts.username or parts.password:
            raise ValueError("expected no login in the address: username, and secret = the NAME of a variable")
        return value

    @field_validator("files", "stations")
    @classmethod
    def _are_names(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        is_folder = info.data.get("kind") == FOLDER_KIND
        for name in value:
            fits = _PATTERN.fullmatch(name) if is_folder else all(_FILE.fullmatch(p) for p in name.split("/"))
            if not fits:
                like = "patterns such as radar_*.nc" if is_folder else "names such as day.csv or 2026/day.csv"
                raise ValueError(f"expected {like}, got {name[:60]!r}")
        return value

    @field_validator("series")
    @classmethod
    def _are_streams(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if not _STREAM.fullmatch(name):
                raise ValueError(f"expected ids of Datastreams such as 7, got {name[:60]!r}")
        return value

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.kind == FOLDER_KIND:
            if not self.files or self.url:
                raise ValueError('files: this key is required, patterns of the watched folder such as ["radar_*.nc"]')
            return self
        if not self.address:
            raise ValueError("url: this key is required")
        schemes = SCHEMES.get(self.kind, ("http", "https"))
        scheme = urlsplit(self.address).scheme
        faults = {
            f"url: kind {self.kind!r} needs {' or '.join(f'{s}://' for s in schemes)}": scheme not in schemes,
            "secret: expected https://, a login by http:// can be read on the way": (
                scheme == "http" and bool(self.secret) and not self.private
            ),
            **self._list_missing(),
        }
        for fault, holds in faults.items():
            if holds:
                raise ValueError(fault)
        return self

    def _list_missing(self) -> dict[str, bool]:
        kind = self.kind
        return {
            "host_key: this key is required, what known_hosts says of the server from `ssh-` on": (
                kind == "sftp" and not self.host_key
            ),
            "username and key_file: these keys are required, a password is not taken": (
                kind == "sftp" and not (self.username and self.key_file)
            ),
            'stations: this key is required, such as ["P816"]': kind == "nevada" and not self.stations,
            "files: this key is required, the names of files below url": (kind in {"sftp", "egms"} and not self.files),
            'series: of kind "sensorthings", id of a Datastream = what it is: {"7" = "G1.rain_mm"}': (
                (kind == "sensorthings") != bool(self.series)
            ),
            'assets: this key is required: band = key of the asset, such as {B4 = "red"}': (
                kind == "stac" and not self.assets
            ),
        }

    @property
    def address(self) -> str:
        """Where the files lie."""
        return self.url or BASES.get(self.kind, "")

    @property
    def form(self) -> str:
        """The reader of its files, "" where the mapping or the default says it."""
        return self.format or FORMATS.get(self.kind, "")

    @property
    def silent_s(self) -> float:
        """Seconds without a success after which people are told."""
        return self.stale_after_s or max(STALE_AFTER * self.every_s, STALE_LEAST_S)
