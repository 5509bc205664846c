"""Texts for people: messages, catalogues, formatting of numbers and times."""
