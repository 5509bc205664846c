"""What maps of the page are drawn of besides stations and footprints: zones, relief, susceptibility, tiles of maps."""
