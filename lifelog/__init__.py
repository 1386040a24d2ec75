"""Assembly: command line, local stack, supervision."""
