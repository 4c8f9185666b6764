"""The Python client: a class to embed, and a command."""
