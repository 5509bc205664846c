"""Files that are fetched by schedule or found in a watched folder, and how they come into the database."""
