"""What the agent in ``test.py`` is made of: its tools, and how it makes sense of a message without a model."""
