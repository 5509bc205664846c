"""Map tiles in one file each: shaded relief of an elevation model, and tiles of others packed anew."""
