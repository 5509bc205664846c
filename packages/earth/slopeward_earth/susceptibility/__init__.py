"""Susceptibility maps: where landslides of an inventory would lie, learned from factors of the ground; never when."""
