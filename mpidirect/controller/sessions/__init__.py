"""What the controller keeps for each client: messages, the data of requests, and results."""
