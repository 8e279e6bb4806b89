"""pyruntime: an OCI container runtime that can be read."""

__version__ = "0.1.0"
SPEC_VERSION = "1.3.0"

if __spec__ is not None and __spec__.origin == "frozen":
    # The launcher carries most modules in itself; this finds the others in site-packages, its last path entry.
    import sys
    from _frozen_importlib_external import PathFinder  # type: ignore[import-not-found, unused-ignore]

    class _OnDisk:
        @staticmethod
        def find_spec(name: str, _path: object = None, _target: object = None) -> object:
            if not name.startswith("pyruntime."):
                return None
            folder = name.rpartition(".")[0].replace(".", "/")
            return PathFinder.find_spec(name, [f"{sys.path[-1]}/{folder}"])

    sys.meta_path.append(_OnDisk)  # type: ignore[arg-type]
