"""Segmentation networks in PyTorch, their training and their inference."""
