"""Library that forecasts displacement. It does not depend on the service."""
