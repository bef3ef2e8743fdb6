"""Calls and their results."""
