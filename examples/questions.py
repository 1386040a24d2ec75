"""Five questions, answered from an export of the log.

lifelog events export --parquet /tmp/log
uv run --group analytics examples/questions.py /tmp/log
"""

import sys
from pathlib import Path

import duckdb

QUESTIONS = {
    "How many GPU-hours did each person use?": "gpu_hours_by_person",
    "How long do jobs of each class wait?": "wait_by_class",
    "What did each version cost?": "cost_per_version",
    "Why are attempts tried again?": "retry_causes",
    "Do versions get better?": "quality_over_versions",
}


def opened(folder: Path) -> duckdb.DuckDBPyConnection:
    """A connection with the views over an export."""
    connection = duckdb.connect()
    connection.execute("SET VARIABLE export = ?", [str(folder)])
    connection.execute((folder / "views.sql").read_text())
    return connection


def main() -> None:
    """Ask them all."""
    connection = opened(Path(sys.argv[1]))
    for question, view in QUESTIONS.items():
        print(question)
        connection.sql(f"FROM {view}").show()


if __name__ == "__main__":
    main()
