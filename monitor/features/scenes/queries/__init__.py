"""SQL of scenes."""
