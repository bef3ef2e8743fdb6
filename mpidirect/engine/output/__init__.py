"""The output of tasks: what they print and display."""
