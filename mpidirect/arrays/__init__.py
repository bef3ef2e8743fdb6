"""Kinds of arrays, and how sequences are cut into parts."""
