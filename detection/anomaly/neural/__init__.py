"""Autoencoders in plain torch."""
