"""Sizes of payloads that are read and stored."""

from typing import Final

# Largest payload that is read, in bytes. The managed broker refuses a larger one.
PAYLOAD_LIMIT: Final = 1 << 20
# Bytes that are stored of a larger payload, beside its true size and its digest.
BEGINNING_BYTES: Final = 1 << 16
