"""The benchmark: this server beside a bare loop over the plain library, in one run. ``python -m bench``."""
