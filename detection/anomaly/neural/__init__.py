"""The autoencoder of stations, in PyTorch."""
