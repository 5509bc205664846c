"""What a CAP 1.2 message must be like: the rules of the standard and our own, for messages of any sender."""

import re
from collections.abc import Iterator
from typing import Final
from xml.etree import ElementTree as ET

from monitor.api.errors import RefusedError

NAMESPACE: Final = "urn:oasis:names:tc:emergency:cap:1.2"
SIGNATURE: Final = "{http://www.w3.org/2000/09/xmldsig#}Signature"
LARGEST_BYTES: Final = 5_000_000
_ALERT: Final = (
    "identifier sender sent status msgType source scope restriction addresses code note references incidents info"
)
_INFO: Final = (
    "language category event responseType urgency severity certainty audience eventCode effective onset"
    " expires senderName headline description instruction web contact parameter resource area"
)
BLOCKS: Final = {  # what each needs, and what may stand in it, in this order
    kind: (needed.split(), order.split())
    for kind, needed, order in (
        ("alert", "identifier sender sent status msgType scope", _ALERT),
        ("info", "category event urgency severity certainty", _INFO),
        ("area", "areaDesc", "areaDesc polygon circle geocode altitude ceiling"),
    )
}
_SOME: Final = "code info category responseType eventCode parameter resource area polygon circle geocode"
MANY: Final = frozenset(_SOME.split())  # what may stand more than once
CODES: Final = {
    name: codes.split()
    for name, codes in {
        "status": "Actual Exercise System Test Draft",
        "msgType": "Alert Update Cancel Ack Error",
        "scope": "Public Restricted Private",
        "category": "Geo Met Safety Security Rescue Fire Health Env Transport Infra CBRNE Other",
        "responseType": "Shelter Evacuate Prepare Execute Avoid Monitor Assess AllClear None",
        "urgency": "Immediate Expected Future Past Unknown",
        "severity": "Extreme Severe Moderate Minor Unknown",
        "certainty": "Observed Likely Possible Unlikely Unknown",
    }.items()
}
TIMES: Final = frozenset({"sent", "effective", "onset", "expires"})
TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[-+]\d\d:\d\d")
_OTHER_CODE: Final = re.compile(rb"""<\?xml[^>]*encoding\s*=\s*["'](?!utf-8["'])""", re.IGNORECASE)
_NAME: Final = re.compile(r"[^\s,<&]+")
_PAIR: Final = re.compile(r"(-?\d+(?:\.\d+)?),(-?\d+(?:\.\d+)?)")
_CIRCLE: Final = re.compile(r"(-?\d+(?:\.\d+)?),(-?\d+(?:\.\d+)?) \d+(?:\.\d+)?")


def read_cap(content: bytes) -> ET.Element:
    """The root of a message; raises RefusedError: it is too large, declares entities, or is no XML or no CAP 1.2."""
    if len(content) > LARGEST_BYTES:
        raise RefusedError(f"the message has more than {LARGEST_BYTES // 1_000_000} MB")
    bare = content.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not bare.startswith(b"<") or b"\0" in content or _OTHER_CODE.match(bare):
        raise RefusedError("the message is no XML in UTF-8")
    if b"<!" in content.replace(b"<!--", b"").replace(b"<![CDATA[", b""):
        raise RefusedError("the message declares a document type: CAP has no such thing")
    try:
        root = ET.fromstring(content)  # noqa: S314 - without a document type there are no entities to expand
    except ET.ParseError as error:
        raise RefusedError(f"the message is no XML: {error}") from None
    if root.tag != f"{{{NAMESPACE}}}alert":
        raise RefusedError(f"the message is no CAP 1.2: its root is {root.tag[:80]}")
    return root


def find_faults(content: bytes) -> list[str]:
    """What is wrong with a message, one line each; none where it keeps the standard.

    Raises RefusedError: as `read_cap`.
    """
    return list(_find(read_cap(content)))


def _find(root: ET.Element) -> Iterator[str]:
    yield from _check_block(root, "alert")
    for info in root.findall(f"{{{NAMESPACE}}}info"):
        yield from _check_block(info, "info")
        for area in info.findall(f"{{{NAMESPACE}}}area"):
            yield from _check_block(area, "area")
            yield from _check_shapes(area)
        for parameter in (p for k in ("parameter", "eventCode") for p in info.findall(f"{{{NAMESPACE}}}{k}")):
            if [_name(child) for child in parameter] != ["valueName", "value"]:
                yield f"{_name(parameter)}: expected valueName and value"
    for name in ("identifier", "sender"):
        if (text := _text(root, name)) and not _NAME.fullmatch(text):
            yield f"{name}: no spaces, commas, < or & (3.2.1)"
    scope = _text(root, "scope")
    if (scope == "Restricted") != (root.find(f"{{{NAMESPACE}}}restriction") is not None):
        yield "restriction: stands with scope Restricted, and only there"
    if scope == "Private" and not _text(root, "addresses"):
        yield "addresses: needed with scope Private"
    yield from _check_chain(root)


def _check_chain(root: ET.Element) -> Iterator[str]:
    references = _text(root, "references").split()
    if _text(root, "msgType") in {"Update", "Cancel", "Ack", "Error"} and not references:
        yield f"references: needed in a message of type {_text(root, 'msgType')}"
    for one in references:
        parts = one.split(",")
        if len(parts) != 3 or not TIME.fullmatch(parts[2]):
            yield f"references: {one[:100]!r} is not sender,identifier,sent"
        elif parts[1] == _text(root, "identifier"):
            yield "references: the message names itself"
    if _text(root, "status") in {"Exercise", "Test"} and not _text(root, "note"):
        yield "note: what is exercised or tested, where the status is Exercise or Test"


def _check_block(block: ET.Element, kind: str) -> Iterator[str]:
    """Names known, in their order, at most once where once, values of their lists."""
    (needed, order), place, seen = BLOCKS[kind], 0, set[str]()
    for child in block:
        if kind == "alert" and child.tag == SIGNATURE:
            continue
        name = _name(child)
        if not child.tag.startswith(f"{{{NAMESPACE}}}") or name not in order:
            yield f"{kind}: {child.tag[:80]} does not belong here"
            continue
        if order.index(name) < place:
            yield f"{kind}: {name} stands too late"
        if name in seen and name not in MANY:
            yield f"{kind}: {name} stands twice"
        place = max(place, order.index(name))
        seen.add(name)
        text = (child.text or "").strip()
        if name in CODES and text not in CODES[name]:
            yield f"{name}: {text[:40]!r} is none of {', '.join(sorted(CODES[name]))}"
        if name in TIMES and not TIME.fullmatch(text):
            yield f"{name}: {text[:40]!r} is no time such as 2026-03-01T06:00:00-00:00"
    yield from (f"{kind}: {name} is missing" for name in needed if name not in seen)


def _check_shapes(area: ET.Element) -> Iterator[str]:
    for polygon in area.findall(f"{{{NAMESPACE}}}polygon"):
        pairs = (polygon.text or "").split()
        if len(pairs) < 4 or pairs[0] != pairs[-1] or not all(map(_is_place, pairs)):
            yield "polygon: expected four pairs lat,lon at least, the last one as the first"
    for circle in area.findall(f"{{{NAMESPACE}}}circle"):
        text = (circle.text or "").strip()
        if not _CIRCLE.fullmatch(text) or not _is_place(text.split()[0]):
            yield "circle: expected lat,lon and a radius in km"


def _is_place(pair: str) -> bool:
    found = _PAIR.fullmatch(pair)
    return found is not None and abs(float(found[1])) <= 90.0 and abs(float(found[2])) <= 180.0


def _name(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _text(parent: ET.Element, name: str) -> str:
    found = parent.find(f"{{{NAMESPACE}}}{name}")
    return "" if found is None else (found.text or "").strip()
