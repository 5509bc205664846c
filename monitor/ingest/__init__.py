"""Receive messages and files, decode them, and store readings and rejected messages."""
