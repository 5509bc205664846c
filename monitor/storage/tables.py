"""Load all tables, so that `metadata` is complete."""

from functools import cache

from sqlalchemy import MetaData

from monitor.plugins import implementations, is_built_in
from monitor.storage.metadata import metadata


@cache
def load_metadata() -> MetaData:
    """Return the metadata with every table of Slopeward.

    Use it to create, compare, copy or walk all tables. Import a single table from the module of its subject.

    The packages that own tables are found by the hook `register_tables`. Their modules are imported by the first call
    and not when this module is imported, because the modules of plugins may import storage. Tables of third-party
    plugins have metadata of their own; `monitor.storage.branches.list_tables` returns them too.
    """
    for implementation in implementations("register_tables"):
        if is_built_in(implementation.plugin):
            implementation.call()
    return metadata
