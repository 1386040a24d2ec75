"""Pages for people: rendered here from the tables, kept live by one stream each."""
