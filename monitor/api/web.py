"""The page: requests, callers, parts that pages share."""

from monitor.web.parts.collect import (
    read_site,  # opens a read transaction on a site; raises NotFoundError
)
from monitor.web.parts.templating import (
    render as render_page,  # renders a template as a page with banner and menu
)

__all__ = [
    "read_site",
    "render_page",
]
