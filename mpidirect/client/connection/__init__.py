"""The client's connection to its controller."""
