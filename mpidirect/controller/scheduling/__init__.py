"""Which engine gets which task when."""
