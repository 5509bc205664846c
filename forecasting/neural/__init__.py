"""Networks in PyTorch. No other package of the library imports torch."""
