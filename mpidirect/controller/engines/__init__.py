"""Engines: their connections, their ends, and their replacements."""
