"""The conversation of ``websocket_client_example.py`` with a person; the client itself needs nothing of it."""
