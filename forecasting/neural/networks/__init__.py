"""One file for each network: its layers and nothing else."""
