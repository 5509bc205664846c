"""Research models for Slopeward: networks, decompositions and detectors, and the training of scene networks."""
