"""Rank 0: routes tasks from clients to engines and results back, and opens none of them."""
