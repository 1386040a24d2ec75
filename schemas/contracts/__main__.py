"""`python -m schemas.contracts` writes every generated file; a test fails while one is old."""

from schemas.contracts import publish

if __name__ == "__main__":
    publish.write()
