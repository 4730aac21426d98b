"""Measurements of fastgate beside its peers."""
