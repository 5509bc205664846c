"""SQL of alerts and of what people declare on a site."""
