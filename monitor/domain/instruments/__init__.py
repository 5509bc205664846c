"""Instruments: how each is said to do, and what several hang on."""
