"""CAP 1.2: hazard alerts as other warning systems read them."""
