"""Calls under way: the engines' replies, output and failures."""
