"""One file per kind of criterion; `monitor.decision.criteria.table` lists them."""
