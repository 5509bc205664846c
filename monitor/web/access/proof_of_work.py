"""Proof of work: after many wrong passwords, an unknown browser must compute for some seconds before each login."""

import hashlib
import hmac
import secrets
import threading
import time
from math import log2
from typing import Final

LEAST_BITS: Final = 17  # a tenth of a second to a second in a browser
MOST_BITS: Final = 21  # some seconds to half a minute
CHALLENGE_VALID_S: Final = 600.0


class ProofOfWork:
    """Makes challenges and accepts each solution once.

    The key of the challenges exists only in this process, so challenges from before a restart are not accepted.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._used: dict[str, float] = {}

    def make_challenge(self, failures: int, tries: int) -> str:
        """Return a challenge. Its difficulty grows with the number of failures beyond `tries`."""
        bits = min(LEAST_BITS + int(log2(max(failures / tries, 1.0))), MOST_BITS)
        signed = f"{bits}.{time.monotonic() + CHALLENGE_VALID_S:.0f}.{secrets.token_hex(4)}"
        return f"{signed}.{self._sign(signed)}"

    def check(self, challenge: str, solution: str) -> bool:
        """Return whether a challenge of this process was solved in time and for the first time."""
        signed, _, signature = challenge.rpartition(".")
        if not signed or not hmac.compare_digest(self._sign(signed), signature):
            return False
        bits, until, _ = signed.split(".")
        now = time.monotonic()
        if now > float(until) or not is_solved(challenge, solution, int(bits)):
            return False
        with self._lock:
            self._used = {used: ends_at for used, ends_at in self._used.items() if ends_at > now}
            if challenge in self._used:
                return False
            self._used[challenge] = float(until)
        return True

    def _sign(self, text: str) -> str:
        # The signature is short, so that challenge and solution fit into one block of SHA-256.
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()[:20]


def is_solved(challenge: str, solution: str, bits: int) -> bool:
    """Return whether SHA-256 of `challenge:solution` starts with this number of zero bits.

    >>> next(str(n) for n in range(1000) if is_solved("a", str(n), 6))
    '63'
    """
    digest = hashlib.sha256(f"{challenge}:{solution}".encode()).digest()
    return int.from_bytes(digest) >> (256 - bits) == 0
