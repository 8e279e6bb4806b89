"""Made at build time."""

COMMIT = "472d9b69319a59f449f42bf7d974d6a655ed5368-dirty"
