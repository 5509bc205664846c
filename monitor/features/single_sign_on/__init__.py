"""Logins by a provider elsewhere (OpenID Connect)."""
