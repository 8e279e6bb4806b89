"""Made at build time."""

COMMIT = "1c29d4d5109e7041010c8fc398a047af4e58e3f7-dirty"
