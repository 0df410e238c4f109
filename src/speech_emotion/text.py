"""Text that people and programs read. In: any text, such as a file's name, a share, a time. Out: text that is safe.

A spreadsheet must not run it as a formula, a terminal must not obey it, and JSON must be able to hold it. Shares and
times are written in one way.
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


def percent(share: float) -> str:
    """A share from 0 to 1 as `42 %`; 0 and 100 % only for exactly 0 and 1."""
    if 0 < share < 0.005:
        return "< 1 %"
    if 0.995 < share < 1:
        return "> 99 %"
    return f"{100 * share:.0f} %"


def clock(seconds: float, *, tenths: bool = True) -> str:
    """A time or a length as `1:05.2`, with hours only if there are any: `1:02:05.0`; without tenths `1:05`."""
    minutes, rest = divmod(round(seconds, 1) if tenths else round(seconds), 60)
    hours, minutes = divmod(int(minutes), 60)
    last = f"{rest:04.1f}" if tenths else f"{rest:02.0f}"
    return f"{hours}:{minutes:02d}:{last}" if hours else f"{minutes}:{last}"
