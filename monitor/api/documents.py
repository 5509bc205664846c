"""HTML documents without other files, for mails and for printing. Importing them does not import the page."""

from monitor.web.parts.documents import (
    draw_line,  # return the SVG path of a small line chart, with gaps
    find_policy,  # return the content security policy for a document
    render,  # render an HTML document in a language and time zone
)

__all__ = [
    "draw_line",
    "find_policy",
    "render",
]
