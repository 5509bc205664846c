"""Decoders of payload formats: each one converts a `ReceivedMessage` into a `DecodedMessage`, see `decoder`."""
