"""Clients: their sessions, requests, data and questions."""
