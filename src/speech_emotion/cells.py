"""Cells of CSV tables: no spreadsheet takes a guarded text for a formula, and unguarding gives it back."""

_GUARD = "'"  # spreadsheets show what follows it as text
_GUARDED = ("=", "+", "-", "@", _GUARD)


def guard(text: str) -> str:
    return f"{_GUARD}{text}" if text.startswith(_GUARDED) else text


def unguard(cell: str) -> str:
    return cell.removeprefix(_GUARD)
