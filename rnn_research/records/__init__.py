"""What a run leaves in its folder: the record, its tables, and how they are read. Needs no torch."""
