"""From a message or file to observations, nothing lost and nothing altered."""
