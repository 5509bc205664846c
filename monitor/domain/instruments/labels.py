"""What people say of anomalies, and while which notices of its health an instrument explains them itself."""

from typing import Final

from monitor.domain.names import split_table

# endings of the keys of notices while which an anomaly of the instrument is explained: it is no movement
NOT_WELL: Final = frozenset({"stale", "flagged", "stuck", "clock", "battery", "snow_ice", "fix", "satellites"})
CONFIRMED, DISMISSED, WITHDRAWN = "confirmed", "dismissed", "withdrawn"
VERDICTS: Final = (CONFIRMED, DISMISSED, WITHDRAWN)  # who withdraws a word says nothing any more
CAUSES: Final = split_table("""
    unknown; movement; spike; step; drift; stuck; noise; gap; clock; unit; battery; snow_ice; weather; work;
    maintenance; common_mode
""")
