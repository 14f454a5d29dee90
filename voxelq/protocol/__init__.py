"""What the client and the service say to each other, without doing any input or output."""
