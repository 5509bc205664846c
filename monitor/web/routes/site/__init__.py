"""Addresses of one site: its curves, movement, instruments, rain, changes of its file."""
