"""Calls under way: what engines have answered, printed, and failed with."""
