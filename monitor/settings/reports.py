"""Tables `[[report]]` of the service file: which reports are made when, and to whom they are mailed."""

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
        for one in value:
            if not TIME.fullmatch(one):
                raise ValueError(f"expected times of the site's clock such as '07:00', got {one!r}")
        return value

    @field_validator("to")
    @classmethod
    def _are_mails(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            if not MAIL.fullmatch(one):
                raise ValueError(f"expected email:ADDRESS, for no other channel carries a file, got {one!r}")
        return value

    @model_validator(mode="after")
    def _has_one_time(self) -> Self:
        if self.kind != "shift" and len(self.at) != 1:
            raise ValueError(f"at: expected one time for a {self.kind} report")
        return self
