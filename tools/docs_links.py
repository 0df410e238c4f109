"""Links from docs/ to other files of the repository. In: a page's Markdown. Out: such a link as text and path.

The site holds docs/ alone: a link that leaves it would lead nowhere there.
"""

import re
from typing import Any


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Called by MkDocs for each page."""
    leaves_docs = "../" * (page.file.src_uri.count("/") + 1)
    link = rf"(?<!!)\[([^\]]+)\]\({re.escape(leaves_docs)}([^)#]+)[^)]*\)"
    return re.sub(link, _text_and_path, markdown)


def _text_and_path(link: re.Match[str]) -> str:
    text, path = link.groups()
    return f"`{path}`" if text.strip("`") == path else f"{text} (`{path}`)"
