"""Change between radar images: backscatter and coherence."""
