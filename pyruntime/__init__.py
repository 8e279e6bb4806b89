"""pyruntime: an OCI container runtime that can be read."""

__version__ = "0.1.0"
SPEC_VERSION = "1.3.0"
