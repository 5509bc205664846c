"""From the outbox to people: stages, channels, dispatcher."""
