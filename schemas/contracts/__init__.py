"""What the log promises to strangers: schemas, examples, the catalogue and AsyncAPI."""
