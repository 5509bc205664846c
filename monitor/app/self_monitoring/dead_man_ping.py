"""Call an outside watcher while the service decides. The watcher raises an alarm if the calls stop."""

import http.client
import logging
import urllib.error
import urllib.request
from typing import Any, Final

log: Final = logging.getLogger(__name__)
TIMEOUT_S: Final = 10.0
# Status codes by which a watcher refuses a request with a body. It is then called with GET.
BODY_REFUSED: Final = frozenset({400, 404, 405, 411, 413, 415, 501})


class _RedirectHandler(urllib.request.HTTPRedirectHandler):
    """Follow a redirect without reading the body of its answer, which may have no end."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """Close the answer and return the next request."""
        fp.close()
        return super().redirect_request(req, fp, code, msg, headers, newurl)


OPENER: Final = urllib.request.build_opener(_RedirectHandler)


def send_ping(url: str, audit_head: str) -> None:
    """Call the watcher. The body is the head of the audit log, so that a copy of it exists on another machine."""
    try:
        _call(url, audit_head.encode())
    except OSError as error:
        log.warning("the outside watcher does not answer: %s", error)
    except http.client.HTTPException as error:
        # The text of the error may contain the address, which is secret.
        log.warning("the outside watcher gives no valid answer in HTTP: %s", type(error).__name__)


def _call(url: str, body: bytes | None) -> None:
    try:
        with OPENER.open(url, body, timeout=TIMEOUT_S):  # The service file accepts http and https only.
            pass
    except urllib.error.HTTPError as error:
        if body is None or error.code not in BODY_REFUSED:
            raise
        _call(url, None)
