"""Ranks 1 to n: run tasks on their main thread, and survive what the tasks do."""
