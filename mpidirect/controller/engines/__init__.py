"""Engines: their connections, their ends, and new ones in their place."""
