"""Triggers of landslides: rain, pore water and shaking. Plain Python, because decisions use it."""
