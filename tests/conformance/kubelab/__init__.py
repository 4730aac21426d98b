"""A real Kubernetes API on one machine, without a container runtime: Pods are processes in network namespaces."""
