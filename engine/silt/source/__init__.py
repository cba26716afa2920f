"""Reading SQLite: open, clone of the schema, census, cursor detection, rows as Arrow (DESIGN 5, 6, 8)."""
