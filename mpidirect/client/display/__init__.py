"""What a prompt and a notebook show."""
