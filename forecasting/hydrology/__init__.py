"""Rain, pore water and shaking: what triggers a slope, in plain float64 Python that decisions may rest on."""
