"""Decisions looked at afterwards: explained, recomputed, compared with what is known today, packed."""
