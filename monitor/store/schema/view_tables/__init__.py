"""Columns of the public views, with their types, units and meanings. The SELECT of each view is in `view_sql.py`.

`all.py` imports every module, so that `view_metadata` is complete. No migration creates these tables. The comment of a
column is its meaning, `info["unit"]` its unit. The reference page "Every public view and column" is generated from
both, and lists each view under the question in its `info["question"]`. Instants and JSON are text in views.
"""
