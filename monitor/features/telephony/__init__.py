"""Messages to telephones, browsers and sirens, and what comes back from them."""
