"""Use several machines: a standby service, and jobs on a Dask cluster."""
