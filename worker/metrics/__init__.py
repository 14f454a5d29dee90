"""What a worker measures of itself; how it is published is not decided here."""
