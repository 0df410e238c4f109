"""Links from docs/ to other files of the repository. In: a page's Markdown. Out: the same, as the site needs it.

The site holds docs/ and the pictures of results/figures. A picture keeps its place in a folder of that name; any other
link that leaves docs/ would lead nowhere there, and becomes text and path.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parent.parent


def on_files(files: Any, config: Any) -> Any:
    """Called by MkDocs once: add the pictures of the results."""
    for path in sorted((ROOT / "results" / "figures").glob("*.png")):
        name = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Called by MkDocs for each page."""
    n_up = page.file.src_uri.count("/")
    leaves_docs = re.escape("../" * (n_up + 1))
    markdown = re.sub(rf"(!\[[^\]]+\]\(){leaves_docs}(results/figures/)", rf"\1{'../' * n_up}\2", markdown)
    return re.sub(rf"(?<!!)\[([^\]]+)\]\({leaves_docs}([^)#]+)[^)]*\)", _text_and_path, markdown)


def _text_and_path(link: re.Match[str]) -> str:
    text, path = link.groups()
    return f"`{path}`" if text.strip("`") == path else f"{text} (`{path}`)"
