"""Networks that read all stations of a slope together, one per file."""
