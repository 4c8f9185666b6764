"""One socket: its handshake and deadlines, reading in turn, writing in few writes."""
