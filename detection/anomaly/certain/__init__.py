"""Checks that find certain faults of instruments, without a score or a threshold."""
