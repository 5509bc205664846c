"""Survey products for geodesists, as an extension of Slopeward."""
