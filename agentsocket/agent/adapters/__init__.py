"""One small module for each kind of agent that can be served, imported only when such an agent turns up."""
