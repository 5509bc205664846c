"""The board of instruments: what is found beside decisions, for people and for notices of health."""
