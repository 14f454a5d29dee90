"""What a thousand blocked clients cost."""
