"""A siren as its maker would build it, from docs/reference/mqtt-signatures.md alone: the client that takes orders."""

import hmac
import json
from datetime import datetime


class Siren:
    """Decides on each message; `sounding_until` is what the loudspeaker follows.

    Args:
        topic: of its orders.
        keys: id -> secret, from `slopeward broker keys --reveal`.
        name: of the device, in its answers.
    """

    def __init__(self, topic, keys, name):
        self.topic, self.keys, self.name = topic, keys, name
        self.last = 0  # keep it over a restart of the device
        self.sounding_until = None
        self.wanted = "off"

    def hear(self, payload, now):
        """The answer to a message, or None: what is not genuine, old or over is ignored."""
        if not self._is_genuine(payload):
            return None
        order = json.loads(payload)
        if order["sequence"] < self.last or now > datetime.fromisoformat(order["valid_until"]):
            return None
        if order["sequence"] > self.last:  # the same one again: it was heard, only the answer was lost
            self.last = order["sequence"]
            if order["wanted"] == "on":
                self.wanted, self.sounding_until = "on", now.timestamp() + order["sound_s"]
            elif order["wanted"] == "off":
                self.wanted, self.sounding_until = "off", None
            self.answer = order["wanted"]
        return self._sign({"sequence": order["sequence"], "state": self.answer, "device": self.name})

    def _is_genuine(self, payload):
        body, _, tail = payload.rpartition(b',"signatures":')
        try:
            made = dict(json.loads(tail[:-1]))
        except (ValueError, TypeError):
            return False
        signed = [(self._digest(key, self.topic, body + b"}"), made.get(i)) for i, key in self.keys.items()]
        return any(hmac.compare_digest(own, str(theirs)) for own, theirs in signed)

    def _sign(self, answer):
        topic, body = f"{self.topic}/confirm", json.dumps(answer, separators=(",", ":")).encode()
        made = {i: self._digest(key, topic, body) for i, key in self.keys.items()}
        return body[:-1] + b',"signatures":' + json.dumps(made).encode() + b"}"

    @staticmethod
    def _digest(key, topic, signed):
        return hmac.new(key, topic.encode() + b"\n" + signed, "sha256").hexdigest()
