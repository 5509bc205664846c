"""Judge the body of an HTTP answer with status 2xx: some receivers report an error there.

Microsoft Teams answers 200 with "Webhook message delivery failed with error: ...". A proxy or an expired account
answers 200 with a login page. Many chat services answer 200 with `{"ok": false}` or an error code.

An answer is a refusal only if it reports an error explicitly, also inside of nested objects, in XML or compressed. Any
other answer counts as success: receivers answer with "ok", "1", an empty body or JSON of their own, and some return the
message that they received, so texts inside of objects are not searched for error words.
"""

import json
import re
import zlib
from collections.abc import Mapping
from typing import Any, Final

from monitor.text.message import Message, Template

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
    r"(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*"
    r"<(?:!doctype\s+html|html|head|body|title|meta|link|script|style|form|iframe|frameset)\b"
    r"|.*<(?:html|script|form|iframe|frameset)\b|.*<meta\b[^>]*\bhttp-equiv"
    r"|.*<input\b[^>]*\btype\s*=\s*[\"']?password",
    re.IGNORECASE | re.DOTALL,
)
_IS_XML_ERROR: Final = re.compile(
    r"\s*(?:<\?xml[^>]*>\s*)?<(?:\w+:)?(?:error|errors|fault|exception)\b|.*<(?:\w+:)?Fault[\s>]",
    re.IGNORECASE | re.DOTALL,
)
_XML_MEMBER: Final = re.compile(r"<(?:\w+:)?([\w.-]+)(?:\s[^<>]*)?>([^<>]*)</")
_ERROR_WORDS: Final = re.compile(
    r"(?<![a-z])(?:errors?|err|failed|failure|fail|fault|exception|denied|forbidden|unauthori[sz]ed|invalid|rejected"
    r"|refused|undelivered|too many requests|rate limit(?:ed)?|no such|unknown (?:webhook|channel|user|token|recipient)"
    r"|not (?:delivered|sent|accepted|authori[sz]ed|allowed|found))(?![a-z])",
    re.IGNORECASE,
)
# Phrases with an error word that report success.
_NO_ERROR: Final = re.compile(
    r"(?<![\w.])(?:no|0|zero|without(?: any)?) +(?:errors?|failures?|failed|faults?|exceptions?|rejected)(?![a-z])"
    r"|(?<![a-z])(?:errors?|failures?|failed|rejected)\"? *[:=]? *"
    r"(?:0(?![\w.])|(?:none|null|no|false)\b(?=\s*(?:$|[,;.)])))",
    re.IGNORECASE,
)
# Members of a JSON or XML answer. Keys are compared without case and without the marks between words.
_SUCCESS_KEYS: Final = ("ok", "success", "succeeded", "successful", "issuccess", "accepted")
# False in an answer that reports success otherwise: the message is on its way.
_ARRIVAL_KEYS: Final = ("delivered", "sent")
_STATUS_KEYS: Final = ("status", "result", "state", "outcome", "type")
_CODE_KEYS: Final = ("code", "statuscode", "httpstatus", "httpcode")
_ERROR_KEYS: Final = (
    *("error", "errors", "err", "fault", "exception", "errormessage", "errormsg", "errmsg", "errortext"),
    *("errordescription", "iserror", "haserror", "haserrors"),
)
# How many of several messages were not delivered, or which.
_FAILURE_KEYS: Final = ("failure", "failures", "failed", "failedcount", "failurecount", "errorcount", "rejected")
# Numbers that are 0 on success: DingTalk and WeCom.
_ERROR_CODE_KEYS: Final = ("errcode", "errorcode")
_TEXT_KEYS: Final = ("msg", "message", "statusmessage", "errormessage", "errmsg", "description", "error")
# Words of a status that no error word explains. Italian gateways answer "KO".
_FAILED_STATUS: Final = frozenset({"ko", "nok", "nack", "blocked"})
_SUCCESS_TEXT: Final = frozenset({"ok", "success", "succeeded", "successful", "accepted", "成功"})
_NO_VALUE: Final = frozenset({"", "0", "none", "no", "null", "nil", "false", "ok", "success", "no error", "no errors"})
_FALSE: Final = frozenset({"false", "no", "0"})
_FIRST_ERROR_STATUS, _LAST_HTTP_STATUS = 400, 599  # services with codes of their own use larger numbers
_STATUS_CHARACTERS: Final = 60  # a longer status is a sentence about something else
_DEEPEST: Final = 4  # nested objects that are examined
_GZIP: Final = b"\x1f\x8b"
_UNPACKED_BYTES: Final = 1 << 16


def find_refusal(name: str, status: int, body: bytes, expected: str = "") -> Message | None:
    """Return why an answer with a status of 2xx does not take the message, or None if it does.

    Args:
        name: Kind of the channel, for the message.
        status: HTTP status.
        body: Body as received. It may be incomplete.
        expected: Text that the body must contain. If it is given, nothing else is examined.
    """
    text = _unpack(body).decode("utf-8", "replace").strip(_BLANKS)
    excerpt = _shorten(text)
    if expected:
        return None if expected in text else _UNEXPECTED(name=name, n=str(status), text=excerpt)
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return _judge_text(name, status, text)
    return _REFUSED(name=name, n=str(status), text=excerpt) if _reports_error(answer) else None


def _unpack(body: bytes) -> bytes:
    """Return the beginning of a body that was compressed although the request asked for plain text."""
    if not body.startswith(_GZIP):
        return body
    try:
        return zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(body, _UNPACKED_BYTES)
    except zlib.error:
        return body


def _judge_text(name: str, status: int, text: str) -> Message | None:
    if not text.startswith("<"):
        return _REFUSED(name=name, n=str(status), text=_shorten(text)) if _has_error_words(text) else None
    if _IS_PAGE.match(text):
        return _PAGE(name=name, n=str(status))
    is_error = _IS_XML_ERROR.match(text) is not None or _members_report_error(_read_xml_members(text))
    return _REFUSED(name=name, n=str(status), text=_shorten(text)) if is_error else None


def _has_error_words(text: str) -> bool:
    return _ERROR_WORDS.search(_NO_ERROR.sub("", text[:_TEXT_CHARACTERS])) is not None


def _read_xml_members(text: str) -> dict[str, Any]:
    """Return the elements that contain text alone, by their names. Of several with one name the first counts."""
    members: dict[str, Any] = {}
    for match in _XML_MEMBER.finditer(text):
        members.setdefault(_fold(match[1]), match[2].strip())
    return members


def _reports_error(answer: Any, depth: int = 0) -> bool:
    """Return whether a JSON answer reports an error. A list is one answer per message."""
    if depth > _DEEPEST:
        return False
    if isinstance(answer, list):
        return any(_reports_error(entry, depth + 1) for entry in answer if isinstance(entry, Mapping))
    if isinstance(answer, Mapping):
        return _object_reports_error(answer, depth)
    if isinstance(answer, str):
        return _has_error_words(answer)
    return answer is False


def _object_reports_error(answer: Mapping[str, Any], depth: int) -> bool:
    members = {_fold(key): value for key, value in answer.items()}
    if _members_report_error(members, is_nested=depth > 0):
        return True
    # Some receivers add an explanation to a success. The explicit success counts for all that the object contains.
    if any(members.get(key) is True for key in _SUCCESS_KEYS):
        return False
    nested = (value for value in answer.values() if isinstance(value, list | Mapping))
    return any(_reports_error(value, depth + 1) for value in nested)


def _members_report_error(members: Mapping[str, Any], *, is_nested: bool = False) -> bool:
    """Return whether the members of one object report an error; the keys are folded."""
    claims = [members[key] for key in _SUCCESS_KEYS if key in members]
    if any(_is_false(claim) for claim in claims):
        return True
    if any(_is_failed_status(members[key]) for key in _STATUS_KEYS if key in members):
        return True
    if any(_is_set(members[key]) for key in (*_ERROR_CODE_KEYS, *_FAILURE_KEYS) if key in members):
        return True
    if _has_error_code(members, is_nested=is_nested):
        return True
    # Some receivers add an explanation to a success. The explicit success counts.
    if any(claim is True for claim in (*claims, *(members.get(key) for key in _ARRIVAL_KEYS))):
        return False
    if any(_is_false(members[key]) for key in _ARRIVAL_KEYS if key in members):
        return True
    return any(_is_set(members[key]) for key in _ERROR_KEYS if key in members)


def _has_error_code(members: Mapping[str, Any], *, is_nested: bool) -> bool:
    """Return whether an object holds an HTTP status of an error, or a larger code of a service.

    A nested code may be anything, such as that of a country, unless a text explains it.
    """
    texts = [members[key] for key in _TEXT_KEYS if key in members]
    if (is_nested and not texts) or any(map(_is_success_text, texts)):
        return False
    return any(_is_error_code(members.get(key)) for key in _CODE_KEYS)


def _fold(key: str) -> str:
    """Return a key without case and without marks, so that `error_code` and `errorCode` are the same."""
    return re.sub(r"[\W_]+", "", key).lower()


def _is_false(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().lower() in _FALSE
    return value is False or (isinstance(value, int | float) and value == 0)


def _is_failed_status(value: Any) -> bool:
    if isinstance(value, str) and not value.strip().isdecimal():
        words = value.strip().lower().replace("_", " ").replace("-", " ")
        return words in _FAILED_STATUS or (len(words) <= _STATUS_CHARACTERS and _has_error_words(words))
    return value is False or _is_http_error(value)


def _is_http_error(value: Any) -> bool:
    number = int(value) if isinstance(value, str) and value.strip().isdecimal() else value
    return isinstance(number, int) and _FIRST_ERROR_STATUS <= number <= _LAST_HTTP_STATUS


def _is_error_code(value: Any) -> bool:
    return _is_http_error(value) or (isinstance(value, int) and value > _LAST_HTTP_STATUS)


def _is_success_text(value: Any) -> bool:
    return isinstance(value, str) and value.strip().lower() in _SUCCESS_TEXT


def _is_set(value: Any) -> bool:
    """Return whether the member of an answer that names an error has a value."""
    if isinstance(value, str):
        return value.strip().lower() not in _NO_VALUE
    return bool(value)


def _shorten(text: str) -> str:
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return line if len(line) <= _EXCERPT_CHARACTERS else f"{line[:_EXCERPT_CHARACTERS]}..."
