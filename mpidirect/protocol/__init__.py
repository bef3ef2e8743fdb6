"""The messages between client, controller and engines."""
