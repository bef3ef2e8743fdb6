"""Collectives between engines, on names in their namespaces."""
