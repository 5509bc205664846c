"""Research models for Slopeward: networks, decompositions, detectors, and learning from outlines."""
