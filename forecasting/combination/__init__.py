"""Online combination of forecasts: experts, their weights, and intervals from past errors.

Readings are in the unit of their panel (`Panel.unit`), which is usually mm but can be kPa or m. Throughout this package
names that end in `_mm`, and docstrings and comments that say mm, stand for that unit.

A station is a column of the panel. A slope is that of a line through its readings, in mm per row; the ground that moves
is called the hillside.
"""
