"""A client's session with the controller: the engines, the calls under way, requests and queries."""
