"""The routes that speak JSON, one module per noun."""
