"""Channel `email:ADDRESS`: one mail by SMTP. Variables `SLOPEWARD_SMTP__...` name the server."""

import re
import smtplib
import ssl
from collections.abc import Mapping
from contextlib import closing, suppress
from email.errors import HeaderParseError
from email.message import EmailMessage
from email.policy import default as mail_policy
from email.utils import format_datetime
from typing import Final

from monitor.alerts.notification import Notification
from monitor.delivery.notifier import read_secret
from monitor.errors import ConfigError, DeliveryError, MissingSettingError
from monitor.text.message import Template
from monitor.text.names import is_line
from monitor.text.rendering import translate

PREFIX: Final = "SLOPEWARD_SMTP__"
TIMEOUT_S: Final = 6.0
# Timeout of the answer of a server that has received the whole mail.
ANSWER_S: Final = 20.0
QUIT_S: Final = 2.0
TLS_MODES: Final = ("starttls", "tls", "none")
_FOR: Final = Template("mail.foot", "{site}, for {name}")
_LOGIN: Final = Template("delivery.email.login", "email: the server refused the login ({code})")
_HEADERS: Final = mail_policy.header_factory
_ADDRESSES: Final = re.compile(r"[^\s<>,;:]+@[^\s<>,;:]+")
# A refused login is tried again, because a person can correct the password.
_LOGIN_CODES: Final = frozenset({530, 534, 535, 538})


class MailNotifier:
    """Sends text mail.

    Settings: HOST (required), PORT (587), SECURITY (`starttls`, `tls`, `none`), USERNAME, PASSWORD or PASSWORD_FILE,
    SENDER (slopeward@localhost). The Message-ID contains the idempotency key. Answers 5xx are final (RFC 5321 §4.2.1),
    except a refused login.
    """

    def __init__(self, address: str, environ: Mapping[str, str]) -> None:
        check_address(address)
        self.recipient = address
        self._host = environ.get(f"{PREFIX}HOST", "")
        if not self._host:
            raise MissingSettingError(f"channel email:{address}: the environment variable {PREFIX}HOST is not set")
        self._tls = environ.get(f"{PREFIX}SECURITY", "starttls")
        if self._tls not in TLS_MODES:
            raise ConfigError(f"{PREFIX}SECURITY: {self._tls!r} is not one of {', '.join(TLS_MODES)}")
        port = environ.get(f"{PREFIX}PORT", "465" if self._tls == "tls" else "587")
        if not port.isdigit():
            raise ConfigError(f"{PREFIX}PORT: {port!r} is not a number")
        self._port = int(port)
        self.sender = environ.get(f"{PREFIX}SENDER", "slopeward@localhost")
        self._user = environ.get(f"{PREFIX}USERNAME", "")
        self._password = read_secret(environ, f"{PREFIX}PASSWORD", "email") if self._user else ""

    def deliver(self, notification: Notification) -> None:
        """Send the message as one mail, over a new connection."""
        self.send(compose(notification, self.sender, self.recipient))

    def send(self, message: EmailMessage) -> None:
        """Send a mail.

        Raises:
            DeliveryError: The server did not take it for all recipients.
        """
        is_sent = False
        try:
            with closing(self._connect()) as server:
                if self._tls == "starttls":
                    server.starttls(context=ssl.create_default_context())
                if self._user:
                    server.login(self._user, self._password)
                assert server.sock is not None
                server.sock.settimeout(ANSWER_S)
                is_sent = True
                refused = server.send_message(message)
                _end_session(server)
        except smtplib.SMTPAuthenticationError as error:
            raise DeliveryError(_LOGIN(code=error.smtp_code)) from error
        except smtplib.SMTPRecipientsRefused as error:
            raise _refuse_recipients(error.recipients) from error
        except smtplib.SMTPResponseException as error:
            permanent = error.smtp_code >= 500 and error.smtp_code not in _LOGIN_CODES
            raise DeliveryError(f"email: {error.smtp_code} {_plain(error.smtp_error)}", permanent=permanent) from error
        except (smtplib.SMTPException, OSError) as error:
            is_late = isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError)
            raise DeliveryError(f"email: {type(error).__name__}: {error}", is_whole=is_sent and is_late) from error
        if refused:
            # The server has taken the mail for the other recipients only.
            raise _refuse_recipients(refused)

    def _connect(self) -> smtplib.SMTP:
        if self._tls == "tls":
            return smtplib.SMTP_SSL(self._host, self._port, timeout=TIMEOUT_S, context=ssl.create_default_context())
        return smtplib.SMTP(self._host, self._port, timeout=TIMEOUT_S)


def _end_session(server: smtplib.SMTP) -> None:
    """End the session after the server took the mail. Its answer to QUIT changes nothing."""
    assert server.sock is not None
    server.sock.settimeout(QUIT_S)
    with suppress(smtplib.SMTPException, OSError):
        server.quit()


def check_address(address: str) -> None:
    """Check that a channel names exactly one mail address.

    A server may take a mail for one of several addresses and refuse the others. Delivery, escalation and
    acknowledgement are tracked for each channel, so each address needs a channel of its own.

    Raises:
        ConfigError: There is no address, more than one, or text that does not belong to an address.
    """
    channel = f"email:{address}"
    addresses = _parse_addresses(address)
    if len(addresses) > 1 or (addresses and len(_ADDRESSES.findall(address)) > 1):
        raise ConfigError(
            f"channel {channel!r}: several addresses; write a channel for each: "
            'channels = ["email:a@example.org", "email:b@example.org"]'
        )
    if len(addresses) != 1 or not all(addresses[0].rpartition("@")) or " " in addresses[0]:
        raise ConfigError(f"channel {channel!r}: not a mail address")


def _parse_addresses(text: str) -> list[str]:
    """Return the mail addresses of a header such as `Anna <a@example.org>`, without names."""
    if not is_line(text):
        return []
    try:
        header = _HEADERS("To", text)
    except (IndexError, ValueError, HeaderParseError):  # the parser of Python fails on some incomplete addresses
        return []
    return [address.addr_spec for address in header.addresses if address.addr_spec]


def _refuse_recipients(refused: Mapping[str, tuple[int, bytes | str]]) -> DeliveryError:
    """Return the error of a mail that the server did not accept for these recipients."""
    reasons = "; ".join(f"{code} {_plain(text)}" for code, text in refused.values())
    permanent = all(code >= 500 for code, _ in refused.values())
    return DeliveryError(f"email: recipient refused ({reasons})", permanent=permanent)


def compose(notification: Notification, sender: str, to: str) -> EmailMessage:
    """Return the mail of a message.

    Attempts with one idempotency key have the same Message-ID and date, so that mail programs show one mail.
    """
    message = EmailMessage()
    message["From"] = sender
    message["To"] = to
    # A header must not contain line breaks.
    message["Subject"] = " ".join(notification.subject.split())
    message["Date"] = format_datetime(notification.queued_at)
    message["Message-ID"] = f"<{notification.idempotency_key}@slopeward>"
    message["X-Slopeward-Level"] = f"{notification.level} {notification.level_name}"
    # Automatic replies do not respond to such a mail (RFC 3834).
    message["Auto-Submitted"] = "auto-generated"
    if notification.level >= 2:
        message["Importance"] = "high"
    foot = translate(_FOR(site=notification.site, name=notification.recipient))
    message.set_content(f"{notification.body}\n\n-- \n{foot}\n")
    return message


def _plain(text: bytes | str) -> str:
    return (text.decode(errors="replace") if isinstance(text, bytes) else text).replace("\n", " ")[:200]
