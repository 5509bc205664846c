"""The sentences for the reason codes of `forecasting`."""

from typing import Final

from monitor.text.formats import by_code

TEXTS: Final = by_code()
