"""The built-in module behind `hashlib.blake2b`."""

from hashlib import blake2b as blake2b
