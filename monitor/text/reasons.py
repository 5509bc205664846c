"""Turns the reason codes of the libraries into messages.

`forecasting` and `detection` return a code with values. The module named after the library contains a sentence for each
code. Code that stores or shows what a library returned calls `convert_reason` once, at the boundary.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol, overload, runtime_checkable

from monitor.text.detection import TEXTS as DETECTION_TEXTS
from monitor.text.forecasting import TEXTS as FORECASTING_TEXTS
from monitor.text.formats import ReasonText, index_by_code, reason_text
from monitor.text.message import LABELLED_TEXT, LISTED, Message, error_text, join

COMMON_TEXTS: Final = index_by_code(reason_text(LABELLED_TEXT))  # of codes that both libraries use
TEXTS: Final[Mapping[str, ReasonText]] = {**COMMON_TEXTS, **DETECTION_TEXTS, **FORECASTING_TEXTS}


@runtime_checkable
class SupportsReason(Protocol):
    """A reason of any library: a code and its values."""

    @property
    def code(self) -> str:
        """The code, which is the id of a template."""

    @property
    def values(self) -> Mapping[str, Any]:
        """The values by name: text, numbers, other reasons, or tuples of these."""


@overload
def convert_reason(reason: SupportsReason, texts: Mapping[str, ReasonText] = TEXTS) -> Message: ...
@overload
def convert_reason(reason: str | SupportsReason, texts: Mapping[str, ReasonText] = TEXTS) -> str: ...
def convert_reason(reason: str | SupportsReason, texts: Mapping[str, ReasonText] = TEXTS) -> str:
    """Return the message for a reason; text is returned unchanged.

    Args:
        reason: a reason of a library or of a plugin.
        texts: the texts by code. A plugin with codes of its own passes `TEXTS` and its texts.

    >>> from forecasting.reasons import Reason
    >>> text = convert_reason(Reason("text.of", {"name": "survey.xlsx", "text": "the sheet is empty"}))
    >>> text, text.id
    ('survey.xlsx: the sheet is empty', 'text.of')

    Raises:
        KeyError: there is no text for this code.
        ValueError: the reason lacks a value that its text needs, or has one more.
    """
    if isinstance(reason, str):
        return reason
    values = {name: _describe_value(value, texts) for name, value in reason.values.items()}
    if reason.code == LISTED.id:
        return join(values["parts"])
    return texts[reason.code](values)


def _describe_value(value: Any, texts: Mapping[str, ReasonText]) -> Any:
    if isinstance(value, tuple):
        return tuple(_describe_value(part, texts) for part in value)
    if isinstance(value, str | int | float):
        return value
    return convert_reason(value, texts)


def convert_reasons_within(value: Any) -> Any:
    """Return plain data with a message in place of every reason.

    >>> from detection.reasons import Reason
    >>> convert_reasons_within({"warnings": [Reason("tiles.empty")], "pixels": 4})
    {'warnings': ['no pixel shows anything'], 'pixels': 4}
    """
    if isinstance(value, Mapping):
        return {key: convert_reasons_within(item) for key, item in value.items()}
    if isinstance(value, list):
        return [convert_reasons_within(item) for item in value]
    if isinstance(value, tuple):
        return tuple(convert_reasons_within(item) for item in value)
    if value is None or isinstance(value, str | int | float):
        return value
    return convert_reason(value) if isinstance(value, SupportsReason) else value


def describe_error(error: BaseException) -> str:
    """Return what an error of a library says, as a message if the error has a reason code.

    >>> describe_error(OSError(2, "gone"))
    '[Errno 2] gone'
    """
    reason = getattr(error, "reason", None)
    return convert_reason(reason) if isinstance(reason, SupportsReason) else error_text(error)


def hide_folder(text: str, folder: Path) -> str:
    """Remove a folder of the server from the paths in a text that people read.

    >>> hide_folder("/in/s1/B4.tif: is torn", Path("/in"))
    's1/B4.tif: is torn'
    >>> hide_folder(LABELLED_TEXT(name="/in/a", text="b"), Path("/in"))
    'a: b'
    """
    prefix = f"{folder}/"
    if not isinstance(text, Message):
        return text.replace(prefix, "")
    if text.id == LABELLED_TEXT.id:
        return LABELLED_TEXT(name=str(text.values["name"]).replace(prefix, ""), text=text.values["text"])
    return text
