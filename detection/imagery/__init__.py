"""Detect landslides in images: from a scene on disk to outlines with their areas on the ground."""
