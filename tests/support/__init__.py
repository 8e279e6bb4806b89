"""What the tests share: the session's own namespaces, bundles, the runtime under test, leak checks."""
