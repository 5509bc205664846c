"""SQL of telephones, browsers and sirens."""
