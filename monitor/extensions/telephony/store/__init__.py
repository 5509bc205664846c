"""What telephones, browsers and sirens were sent, and what they answered."""
