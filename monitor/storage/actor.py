"""Who acts: a person, the service itself or another program."""

from dataclasses import dataclass
from typing import Final

from monitor.text.names import tidy_name

# How a person acted
COMMAND: Final = "command"
PAGE: Final = "page"
TOKEN: Final = "token"  # noqa: S105 - a way, not a secret


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did it: `kind` is person, service, or program; the name is kept in tidy form."""

    name: str
    kind: str = "person"
    via: str | None = None  # by which way a person acted: `command`, `page`, `token`, `sms`, `voice`; None = by none
    os_user: str | None = None  # at a command: the user of the operating system, whoever the name is
    proof: str | None = None  # at a command: `password`, `os_user` or `token` proved the name; None = nothing did

    def __post_init__(self) -> None:
        """Write the name down as names are written down."""
        object.__setattr__(self, "name", tidy_name(self.name))


SERVICE_ACTOR = Actor("slopeward", "service")
