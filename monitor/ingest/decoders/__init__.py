"""One file per payload format: Message -> list[Observation]."""
