"""Growth past one process and one machine: ingest by several, a service that stands by, jobs on a Dask cluster."""
