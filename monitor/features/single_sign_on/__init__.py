"""Login through an external identity provider (OpenID Connect)."""
