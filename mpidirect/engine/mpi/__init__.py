"""Communicators and requests of an engine."""
