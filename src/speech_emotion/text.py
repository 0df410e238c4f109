"""Text in tables and terminals: no spreadsheet takes a guarded one for a formula, and no terminal is steered."""

_GUARD = "'"  # spreadsheets show what follows it as text
_GUARDED = ("=", "+", "-", "@", _GUARD)


def guard(text: str) -> str:
    return f"{_GUARD}{text}" if text.startswith(_GUARDED) else text


def unguard(cell: str) -> str:
    return cell.removeprefix(_GUARD)


def printable(text: str) -> str:
    """`text` on one line that cannot steer a terminal: control characters and stray bytes are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
