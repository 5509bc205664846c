"""Check that CAP messages can be signed if a key is configured."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from monitor.api.checks import BAD, Check, SiteFolder, SubjectState, make_state
from monitor.api.errors import SlopewardError
from monitor.api.settings import read_text
from monitor.api.text import Template, Timestamp

_SIGNED: Final = Template("check.cap.signed", "messages are signed by {name} until {day}")


def _check_certificate(files: SiteFolder) -> Iterator[SubjectState]:
    from monitor.features.cap.message import write_notice
    from monitor.features.cap.signature import sign_cap, verify_cap

    cap = files.service.cap
    now = datetime.now(UTC)
    if not cap.key:
        return
    try:
        certificate = read_text(Path(cap.certificate_file))
        sample = write_notice("check", "slopeward", now, "a sample")
        signed = verify_cap(sign_cap(sample, cap.key, certificate).encode(), certificate)
    except SlopewardError as error:
        yield make_state(text=error.message)
        return
    text = _SIGNED(name=signed.subject, day=Timestamp.of(signed.ends_at, "day"))
    yield make_state(is_wrong=signed.ends_at <= now, text=text)


CHECKS: Final = (
    Check(
        "cap.certificate",
        SiteFolder,
        BAD,
        "{text}",
        _check_certificate,
        "correct [cap], or create a new key: slopeward notify cap key",
        fine="{text}",
    ),
)
