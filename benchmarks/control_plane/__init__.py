"""How an implementation follows a cluster, after gateway-api-bench: `python -m benchmarks.control_plane`."""
