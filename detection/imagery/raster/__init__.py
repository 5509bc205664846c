"""Read and write rasters: open untrusted files safely, read windows of them, and convert pixels to metres."""
