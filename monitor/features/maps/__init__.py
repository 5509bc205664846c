"""What maps of the page are drawn of besides stations and footprints: zones, relief, tiles of maps."""
