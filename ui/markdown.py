"""Markdown from agents and people, made into HTML that can do nothing.

markdown-it-py parses (CommonMark and tables, raw HTML shown as text); nh3 (ammonia) then lets only these tags and
link schemes through, so that a mistake in the first is caught by the second.
"""

import re

import nh3
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt

ALIGNED = {"style": "text-align:right"}  # as the parser says it; the policy of the pages refuses styles
UNIT = re.compile(r"(?<=\d) (?=[%‰€$£¥]|[A-Z]{3}\b)")  # between a number and what it is of, where no line breaks
TABLE = '<div class="scroll" role="region" tabindex="0" aria-label="Table"><table>'
TAGS = {"a", "blockquote", "br", "code", "del", "em", "hr", "li", "ol", "p", "pre", "s", "strong", "ul"}
TAGS |= {"h1", "h2", "h3", "h4", "h5", "h6", "table", "tbody", "td", "th", "thead", "tr"}
LARGEST = 100_000  # signs; what is longer is shown as text: a million of the worst kind take ten seconds to parse
_parser = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable(["table", "strikethrough"])


def render(text: str, *, top: int = 2, title: str = "") -> SafeString | None:
    """Its HTML, the highest heading being `h{top}`; None when the text is too long for that.

    A heading that it begins with is left out if it says no more than `title`, which stands above it.
    """
    if len(text) > LARGEST:
        return None
    tokens = _parser.parse(text)
    if [token.type for token in tokens[:2]] == ["heading_open", "inline"] and _same(tokens[1].content, title):
        tokens = tokens[3:]
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + top - 1)}"
        elif token.attrs == ALIGNED:
            token.attrs = {"class": "number"}
        for inner in token.children or ():
            if inner.type == "text":
                inner.content = UNIT.sub("\N{NO-BREAK SPACE}", inner.content)
    html = _parser.renderer.render(tokens, _parser.options, {})
    cleaned = nh3.clean(
        html,
        tags=TAGS,
        attributes={"a": {"href", "title"}, "ol": {"start"}},
        allowed_classes={"td": {"number"}, "th": {"number"}},
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
    )
    cleaned = cleaned.replace("<table>", TABLE).replace("</table>", "</table></div>")  # a "<" of a text is "&lt;" there
    return mark_safe(cleaned)  # noqa: S308  cleaned by nh3 above


def _same(heading: str, title: str) -> bool:
    return bool(title) and heading.split() == title.split()
