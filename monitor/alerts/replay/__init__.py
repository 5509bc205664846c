"""Replay the past of a site through the decision, on a simulated clock."""
