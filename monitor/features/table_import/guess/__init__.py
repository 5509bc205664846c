"""Guess the most likely meaning of a table: a mapping and stations, and questions that only a person can answer."""
