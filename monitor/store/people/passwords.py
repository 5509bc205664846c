"""Which passwords are taken: none that a list of words, names, dates and keyboard walks finds soon (zxcvbn)."""

from typing import Final

from monitor.errors import RefusedError

SHORTEST: Final = 8
NEEDED_SCORE: Final = 3  # of 0 to 4: 10^8 guesses at least, "safely unguessable" to whom the page answers slowly
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
        raise RefusedError(f"the password is too short; {SHORTEST} characters at least")
    found = zxcvbn(password[:_LOOKED_AT], user_inputs=[name, *_KNOWN])
    if found["score"] < NEEDED_SCORE:
        said = str(found["feedback"]["warning"] or "it would be found soon by trying words and names").rstrip(".")
        raise RefusedError(
            f"the password is easy to guess: {said[0].lower()}{said[1:]};"
            " take three or four words that do not belong together"
        )
