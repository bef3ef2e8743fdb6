"""Rank 0: routes tasks from clients to engines and results back, without unpickling them."""
