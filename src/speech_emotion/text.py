"""Text that is safe in tables and terminals. In: any text, such as a file's name. Out: the same, escaped.

A spreadsheet must not run it as a formula, a terminal must not obey it, and JSON must be able to hold it.
"""

_GUARD = "'"  # spreadsheets show what follows it as text
_GUARDED = ("=", "+", "-", "@", _GUARD)


def guard(text: str) -> str:
    """`text` for a CSV cell: a spreadsheet does not take it for a formula. `unguard` restores it."""
    return f"{_GUARD}{text}" if text.startswith(_GUARDED) else text


def unguard(cell: str) -> str:
    """The text that `guard` was given."""
    return cell.removeprefix(_GUARD)


def printable(text: str) -> str:
    """`text` on one line that cannot steer a terminal: control characters and stray bytes are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def valid_unicode(text: str) -> str:
    """`text` for JSON: lone surrogates, which stand for bytes that are not UTF-8, are escaped."""
    return text.encode("utf-8", "backslashreplace").decode()
