"""The log as Parquet files, by topic and day: for whoever asks questions with other tools."""
