"""What the controller keeps for each client: its messages, its requests' data, its results."""
