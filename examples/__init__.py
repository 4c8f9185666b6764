"""One agent of each framework that can be served."""
