"""HTML for comparison in tests, independent of how its template is laid out."""

import re


def flatten_html(page: str) -> str:
    """Return the HTML on one line, without white space beside tags.

    >>> flatten_html("<dl>\\n  <dt>Stage</dt>\\n  <dd>\\n    at  rest </dd></dl>")
    '<dl><dt>Stage</dt><dd>at rest</dd></dl>'
    """
    return re.sub(r" ?(<[^<>]*>) ?", r"\1", " ".join(page.split()))
