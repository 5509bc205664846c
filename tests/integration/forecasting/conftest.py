"""What all tests of this folder share: one database unless a test asks for both."""

from tests.data.databases import database_url

__all__ = ["database_url"]
