"""Errors of the libraries, compared by the text that people read."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from monitor.text.reasons import describe_error


@contextmanager
def raises_text(
    kind: type[Exception] | tuple[type[Exception], ...], match: str
) -> Iterator[pytest.ExceptionInfo[Exception]]:
    """Expect an error whose text is one line that contains a match of a regular expression."""
    with pytest.raises(kind) as caught:
        yield caught
    text = describe_error(caught.value)
    assert re.search(match, text), text
    assert "\n" not in text
