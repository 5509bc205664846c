"""Networks that are built like a U-Net: the family, and what others made of it."""
