"""One file per kind of criterion; `monitor.criteria.table` lists them."""
