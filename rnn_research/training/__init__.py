"""Training of live objects, and what it leaves: from a fit to a run record."""
