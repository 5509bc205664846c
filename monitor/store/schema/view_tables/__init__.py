"""Public views, one module per subject.

Users rely on the names and columns of the views; see docs/reference/sql.md. A module declares the columns of its views,
and returns their SELECT statements from `select_views`. No migration creates these tables. The comment of a column is
its meaning, `info["unit"]` its unit. The reference page "Every public view and column" is generated from both, and lists
each view under the question in its `info["question"]`. Instants and JSON are text in views.

No column depends on the clock. No view reads the observation history with a window function. Sums and means are
rounded, so that the order of addition makes no difference. Expressions that differ between the databases are in
`monitor.store.schema.dialect`.

`all.py` imports every module, so that `view_metadata` is complete.
"""
