"""Read models in Postgres: pure folds, the projector that writes them, migrations, rebuild."""
