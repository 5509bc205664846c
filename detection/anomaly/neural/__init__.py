"""The autoencoder of the stations of a site, in PyTorch."""
