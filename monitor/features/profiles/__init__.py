"""Depth profiles: displacement, pressure or temperature by depth in a borehole, and the depth of slip."""
