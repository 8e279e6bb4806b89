"""`spec`: write a default config.json."""

from __future__ import annotations

import posix

from ..errors import Failure
from ..text import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..options import Options


def spec(options: Options) -> int:
    """`spec [--bundle DIR] [--file NAME] [--rootless]`: write DIR/config.json; fail if the file exists."""
    import json

    from ..spec import default

    if options.rootless:
        config = default.rootless_config(posix.geteuid(), posix.getegid())
    else:
        config = default.default_config()
    path = options.file or "config.json"
    if options.bundle and not path.startswith("/"):
        path = f"{options.bundle.rstrip('/')}/{path}"
    data = encode(json.dumps(config, indent="\t") + "\n")
    try:
        fd = posix.open(path, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o666)
    except FileExistsError:
        raise Failure(f"File {path} exists. Remove it first") from None
    except OSError as error:
        raise Failure(f"write {path}", _plain(error)) from None
    try:
        while data:
            data = data[posix.write(fd, data) :]
    except OSError as error:
        posix.unlink(path)
        raise Failure(f"write {path}", _plain(error)) from None
    finally:
        posix.close(fd)
    return 0


def _plain(error: OSError) -> OSError:
    """Return the error without the path, which the message already contains."""
    return OSError(error.errno, error.strerror)
