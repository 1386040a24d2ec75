"""A model's answer as HTML: its Markdown rendered here, and nothing in it that could act.

No link, no image and no attribute is let through, so a text that a model makes up can neither load
anything nor lead anybody away.
"""

import re
from collections.abc import Mapping

import nh3
from markdown_it import MarkdownIt
from markupsafe import Markup, escape

TAGS = frozenset(
    (
        *("p", "br", "hr", "em", "strong", "del", "ul", "ol", "li", "blockquote", "code", "pre"),
        *("h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td"),
    )
)
_MARK = re.compile(r"\[(\d{1,3})\]")
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])


def answer(text: str, marks: Mapping[int, str]) -> Markup:
    r"""An answer as HTML.

    Args:
        text: What the model wrote, Markdown.
        marks: The memories that stood in its prompt: number → id of the element that names it.

    Examples:
        >>> answer("In *Wrest*. [1]", {1: "cite-1"})
        Markup('<p>In <em>Wrest</em>. <a class="mark" href="#cite-1">1</a></p>\n')
        >>> answer("<b onclick=x>Hi</b> [9]", {})
        Markup('<p>&lt;b onclick=x&gt;Hi&lt;/b&gt; [9]</p>\n')
    """
    clean = nh3.clean(_MARKDOWN.render(text), tags=set(TAGS), attributes={}, url_schemes=set())

    def marked(found: re.Match[str]) -> str:
        place = marks.get(int(found[1]))
        if place is None:
            return found[0]
        return f'<a class="mark" href="#{escape(place)}">{found[1]}</a>'

    return Markup(_MARK.sub(marked, clean))  # noqa: S704 - cleaned above, and no attribute is left


def numbers(text: str) -> list[int]:
    """The numbers that an answer cites, each once, in order.

    Examples:
        >>> numbers("Yes [2], and [1]. [2]")
        [2, 1]
    """
    return list(dict.fromkeys(int(found[1]) for found in _MARK.finditer(text)))
