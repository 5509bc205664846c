"""Who performs an audited act: a person, the service itself or another program."""

from dataclasses import dataclass
from typing import Final

from monitor.text.names import tidy_name

# How a person acted.
COMMAND: Final = "command"
PAGE: Final = "page"
TOKEN: Final = "token"  # noqa: S105 - a kind of access, not a secret


@dataclass(frozen=True, slots=True)
class Actor:
    """The actor of an audited act.

    Attributes:
        name: the name, normalised by `tidy_name`.
        kind: person, service or program.
        via: how a person acted: `command`, `page`, `token`, `sms` or `voice`. None for other kinds.
        os_user: for a command, the user of the operating system, which may differ from the name.
        proof: for a command, what proved the name: `password`, `os_user` or `token`. None if nothing did.
    """

    name: str
    kind: str = "person"
    via: str | None = None
    os_user: str | None = None
    proof: str | None = None

    def __post_init__(self) -> None:
        """Normalise the name."""
        object.__setattr__(self, "name", tidy_name(self.name))


SERVICE_ACTOR = Actor("slopeward", "service")
# The site id of alarms of the service itself.
SERVICE_SITE: Final = "status"
