"""The only rooms that hold SQL."""
