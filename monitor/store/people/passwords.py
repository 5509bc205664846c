"""Which passwords are taken: none that a list of words, names, dates and keyboard walks finds soon (zxcvbn)."""

from typing import Final

from forecasting.message import Template
from monitor.errors import RefusedError

SHORTEST: Final = 8
NEEDED_SCORE: Final = 3  # of 0 to 4: 10^8 guesses at least, "safely unguessable" to whom the page answers slowly
_SHORT: Final = Template("password.short", "the password is too short; {count} characters at least")
_EASY: Final = Template(
    "password.easy",
    "the password is easy to guess: {reason}; take three or four words that do not belong together",
)
_FOUND_SOON: Final = Template("password.found_soon", "it would be found soon by trying words and names")
_LOOKED_AT: Final = 72  # characters; what is longer cannot be weaker, and the search takes its time
_KNOWN: Final = ("slopeward", "landslide", "slope", "geology", "geologist", "monitoring")


def check_strength(name: str, password: str) -> None:
    """Refuse a password that would be guessed.

    Args:
        name: of the account, which an attacker tries first.
        password: as given.

    Raises:
        RefusedError: it is too short or too easy; the text says why, and never bears the password.
    """
    from zxcvbn import zxcvbn  # its word lists are read only where somebody chooses a password

    if len(password) < SHORTEST:
        raise RefusedError(_SHORT(count=SHORTEST))
    found = zxcvbn(password[:_LOOKED_AT], user_inputs=[name, *_KNOWN])
    if found["score"] < NEEDED_SCORE:
        said = str(found["feedback"]["warning"]).rstrip(".")  # of the word lists, in English
        raise RefusedError(_EASY(reason=said[0].lower() + said[1:] if said else _FOUND_SOON()))
