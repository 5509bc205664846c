"""Growth past one process and one machine: jobs on a cluster of Dask."""
