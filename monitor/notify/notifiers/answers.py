"""Judge the body of an HTTP answer with status 2xx: some receivers report an error there.

Microsoft Teams answers 200 with "Webhook message delivery failed with error: ...". A proxy or an expired account
answers 200 with a login page. Many chat services answer 200 with `{"ok": false}` or an error code.

An answer is a refusal only if it reports an error explicitly. Any other answer counts as success: receivers answer
with "ok", "1", an empty body or JSON of their own.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from forecasting.message import Message, Template

_BLANKS: Final = "\ufeff \t\r\n"  # with the byte order mark that some servers send
_EXCERPT_CHARACTERS: Final = 120
# Plain text is examined up to here. Reports of errors begin with the error.
_TEXT_CHARACTERS: Final = 500
_PAGE: Final = Template(
    "delivery.http.page", "{name}: answered {n} with a web page, perhaps a login page; check the address"
)
_REFUSED: Final = Template("delivery.http.refused", "{name}: answered {n}, but reports an error: {text}")
_UNEXPECTED: Final = Template(
    "delivery.http.unexpected", "{name}: answered {n} without the expected text; the answer begins: {text}"
)
_IS_PAGE: Final = re.compile(
    r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b"
    r"|.*<form\b.*<input\b[^>]*\btype\s*=\s*[\"']?password",
    re.IGNORECASE | re.DOTALL,
)
_IS_XML_ERROR: Final = re.compile(
    r"\s*(?:<\?xml[^>]*>\s*)?<(?:\w+:)?(?:error|errors|fault|exception)\b|.*<(?:\w+:)?Fault[\s>]",
    re.IGNORECASE | re.DOTALL,
)
_ERROR_WORDS: Final = re.compile(
    r"(?<![a-z])(?:errors?|failed|failure|fault|exception|denied|forbidden|unauthori[sz]ed|invalid|rejected|refused"
    r"|too many requests|rate limit(?:ed)?|not (?:delivered|sent|accepted|authori[sz]ed|allowed|found))(?![a-z])",
    re.IGNORECASE,
)
# Phrases with an error word that report success.
_NO_ERROR: Final = re.compile(
    r"(?<![\w.])(?:no|0|zero|without(?: any)?) +(?:errors?|failures?|failed|faults?|exceptions?|rejected)(?![a-z])"
    r"|(?<![a-z])(?:errors?|failures?|failed|rejected)\"? *[:=]? *"
    r"(?:0(?![\w.])|(?:none|null|no|false)\b(?=\s*(?:$|[,;.)])))",
    re.IGNORECASE,
)
# Top-level members of a JSON answer.
_SUCCESS_KEYS: Final = ("ok", "success", "succeeded", "successful", "accepted")
_STATUS_KEYS: Final = ("status", "result", "state", "outcome")
_ERROR_KEYS: Final = ("error", "errors", "fault", "exception")
# Numbers that are 0 on success: DingTalk and WeCom.
_ERROR_CODE_KEYS: Final = ("errcode", "error_code", "errorcode")
_FAILED_STATUS: Final = frozenset(
    {
        "error",
        "err",
        "fail",
        "failed",
        "failure",
        "denied",
        "rejected",
        "refused",
        "unauthorized",
        "forbidden",
        "invalid",
    }
)
_NO_VALUE: Final = frozenset({"", "0", "none", "no", "null", "nil", "false", "ok", "success", "no error", "no errors"})
_FALSE: Final = frozenset({"false", "no", "0"})
_FIRST_ERROR_STATUS, _LAST_ERROR_STATUS = 400, 599  # HTTP


def find_refusal(name: str, status: int, body: bytes, expected: str = "") -> Message | None:
    """Return why an answer with a status of 2xx does not take the message, or None if it does.

    Args:
        name: Kind of the channel, for the message.
        status: HTTP status.
        body: Body as received. It may be incomplete.
        expected: Text that the body must contain. If it is given, nothing else is examined.
    """
    text = body.decode("utf-8", "replace").strip(_BLANKS)
    excerpt = _shorten(text)
    if expected:
        return None if expected in text else _UNEXPECTED(name=name, n=str(status), text=excerpt)
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return _judge_text(name, status, text)
    return _REFUSED(name=name, n=str(status), text=excerpt) if _reports_error(answer) else None


def _judge_text(name: str, status: int, text: str) -> Message | None:
    if _IS_PAGE.match(text):
        return _PAGE(name=name, n=str(status))
    if text.startswith("<"):
        is_error = _IS_XML_ERROR.match(text) is not None
    else:
        is_error = _ERROR_WORDS.search(_NO_ERROR.sub("", text[:_TEXT_CHARACTERS])) is not None
    return _REFUSED(name=name, n=str(status), text=_shorten(text)) if is_error else None


def _reports_error(answer: Any) -> bool:
    """Return whether a JSON answer reports an error. A list is one answer per message."""
    if isinstance(answer, list):
        return any(_object_reports_error(entry) for entry in answer if isinstance(entry, Mapping))
    if isinstance(answer, Mapping):
        return _object_reports_error(answer)
    if isinstance(answer, str):
        return _ERROR_WORDS.search(_NO_ERROR.sub("", answer[:_TEXT_CHARACTERS])) is not None
    return answer is False


def _object_reports_error(answer: Mapping[str, Any]) -> bool:
    members = {key.lower(): value for key, value in answer.items()}
    claims = [members[key] for key in _SUCCESS_KEYS if key in members]
    if any(_is_false(claim) for claim in claims):
        return True
    if any(_is_failed_status(members[key]) for key in _STATUS_KEYS if key in members):
        return True
    if _is_error_status(members.get("code")):
        return True
    if any(_is_set(members[key]) for key in _ERROR_CODE_KEYS if key in members):
        return True
    # Some receivers add an explanation to a success. The explicit success counts.
    if any(claim is True for claim in claims):
        return False
    return any(_is_set(members[key]) for key in _ERROR_KEYS if key in members)


def _is_false(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().lower() in _FALSE
    return value is False or (isinstance(value, int | float) and value == 0)


def _is_failed_status(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().lower() in _FAILED_STATUS or (value.strip().isdecimal() and _is_error_status(int(value)))
    return value is False or _is_error_status(value)


def _is_error_status(value: Any) -> bool:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return is_number and _FIRST_ERROR_STATUS <= value <= _LAST_ERROR_STATUS


def _is_set(value: Any) -> bool:
    """Return whether the member of an answer that names an error has a value."""
    if isinstance(value, str):
        return value.strip().lower() not in _NO_VALUE
    return bool(value)


def _shorten(text: str) -> str:
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return line if len(line) <= _EXCERPT_CHARACTERS else f"{line[:_EXCERPT_CHARACTERS]}..."
