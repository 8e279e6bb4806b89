def compile(
    default_action: int,
    arches: list[str],
    rules: list[tuple[int, str, list[tuple[int, int, int, int]]]],
    named: list[str] | None = None,
    strict: bool = False,
    /,
) -> bytes: ...
def version() -> str: ...
