"""Interferograms: stacks, displacement, rates, coherence and zones that move."""
