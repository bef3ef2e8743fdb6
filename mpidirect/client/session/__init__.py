"""A client's session with the controller: engines, calls under way, requests and queries."""
