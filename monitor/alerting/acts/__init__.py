"""What people decide: levels set by hand, site files proposed and approved, and what that loosens."""
