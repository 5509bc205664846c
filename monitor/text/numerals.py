"""Numbers that a person types."""

import re
from typing import Final

_AMBIGUOUS_COMMA: Final = re.compile(r"[+-]?[1-9][0-9]{0,2},[0-9]{3}")


def has_ambiguous_comma(entered: str) -> bool:
    """Return whether the comma of a number may separate either thousands or decimals.

    >>> has_ambiguous_comma("1,234"), has_ambiguous_comma("0,234"), has_ambiguous_comma("1,5")
    (True, False, False)
    """
    return _AMBIGUOUS_COMMA.fullmatch(entered.strip()) is not None
