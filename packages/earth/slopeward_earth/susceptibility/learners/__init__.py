"""The learners of susceptibility: one file each, and the table that lists them."""
