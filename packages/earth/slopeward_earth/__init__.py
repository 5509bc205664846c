"""Survey products for geodesists, as a plugin of Slopeward."""
