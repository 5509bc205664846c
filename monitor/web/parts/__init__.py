"""Parts that pages are made of: figures, tables, pictures, spelling."""
