"""Clients: their sessions, requests, data and queries."""
