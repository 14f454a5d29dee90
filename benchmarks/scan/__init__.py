"""What a whole scan costs, end to end."""
