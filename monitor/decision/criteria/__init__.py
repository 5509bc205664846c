"""Kinds of criteria: what a site file may say of each, and what each says of a station."""
