"""Growth past one process and one machine: a standby service, and jobs on a Dask cluster."""
