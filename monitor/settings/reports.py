"""Tables `[[report]]` of the service file: kinds and times of scheduled reports, and their mail addresses."""

import re
from typing import Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from monitor.sections import Language, Names, Section

TIME: Final = re.compile(r"([01]?\d|2[0-3]):[0-5]\d")
MAIL: Final = re.compile(r"email:[^\s@]+@[^\s@]+")


class ReportSection(Section):
    """[[report]]."""

    kind: Literal["daily", "weekly", "shift"]
    sites: tuple[str, ...] = Field(default=("*",), min_length=1)
    at: Names = Field(default=("07:00",), min_length=1)
    weekday: Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"] = "monday"
    to: tuple[str, ...] = ()
    form: Literal["pdf", "html"] = "pdf"
    language: Language | None = None

    @field_validator("at")
    @classmethod
    def _are_times(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for time in value:
            if not TIME.fullmatch(time):
                raise ValueError(f"expected times in the zone of the site such as '07:00', got {time!r}")
        return value

    @field_validator("to")
    @classmethod
    def _are_mails(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for channel in value:
            if not MAIL.fullmatch(channel):
                raise ValueError(f"expected email:ADDRESS, because only mail can carry a file, got {channel!r}")
        return value

    @model_validator(mode="after")
    def _has_one_time(self) -> Self:
        if self.kind != "shift" and len(self.at) != 1:
            raise ValueError(f"at: expected one time for a {self.kind} report")
        return self
