"""The decision which engine gets which task, and when."""
