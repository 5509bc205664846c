"""Channels to telephones, browsers and sirens, and the replies from them."""
