"""A live view of the engines in the terminal: `mpidirect top`."""
