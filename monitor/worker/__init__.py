"""Run heavy work in sandboxed child processes."""
