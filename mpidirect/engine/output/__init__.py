"""What tasks print and display."""
