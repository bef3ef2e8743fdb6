"""Settings: their options, and where each value comes from."""
