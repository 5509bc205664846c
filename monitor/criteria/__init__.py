"""One file per kind of criterion: what a site file may say of it, and what it says of a station."""
