"""Connections by ZeroMQ, or, for the tasks of engines on the controller's host, by Unix sockets."""
