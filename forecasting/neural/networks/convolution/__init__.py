"""Networks whose front is a convolution, over rows or along a line of stations, one per file."""
