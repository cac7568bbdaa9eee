"""What the clients of other programs send and receive."""
