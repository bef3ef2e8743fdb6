"""What client, controller and engines say to each other."""
