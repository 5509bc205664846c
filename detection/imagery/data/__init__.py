"""Labelled patches for training: the class `Patches`, readers of several file layouts, augmentation, and scores."""
