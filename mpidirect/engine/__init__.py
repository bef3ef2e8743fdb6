"""Ranks 1 to n: run what they are sent, on their main thread, and live on whatever it does."""
