"""How files spell numbers, times and heads of tables, whatever reads them."""
