"""Delivery: outbox, dispatch, escalation and channels."""
