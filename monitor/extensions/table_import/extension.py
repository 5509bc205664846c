"""Tables that people bring: what they add to the service."""

from typing import Final

from monitor.domain.extension import Address, Extension

_HERE: Final = "monitor.extensions.table_import"
_OF_ONE: Final = ("GET {}", "GET {}/state", "POST {}/part", "POST {}/answers", "POST {}/accept", "POST {}/discard")
# everybody sees the own ones; which sites they may go to, the route looks after
_ADDRESSES: Final = ("GET /files", "POST /files", *(one.format("/files/{upload}") for one in _OF_ONE))
EXTENSION: Final = Extension(
    name="table_import",
    description="any table that somebody brings, understood with a few questions, on the page and by `ingest --guess`",
    package=_HERE,
    routes=(f"{_HERE}.routes:router",),
    addresses=dict.fromkeys(_ADDRESSES, Address("operator", of_no_site=True)),
    panels={"start.ways": ("start_table.html",)},
    functions={"ingest.guess": f"{_HERE}.cli:guess_file"},
)
