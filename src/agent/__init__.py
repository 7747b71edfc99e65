"""The machine's one process on the database's side."""
