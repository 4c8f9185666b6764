"""What an agent is, and how one is found and made."""
