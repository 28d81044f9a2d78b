"""Markdown from agents and people, made into HTML that can do nothing.

markdown-it-py parses (CommonMark and tables, raw HTML shown as text); nh3 (ammonia) then lets only these tags and
link schemes through, so that a mistake in the first is caught by the second.
"""

import nh3
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt

TAGS = {"a", "blockquote", "br", "code", "del", "em", "hr", "li", "ol", "p", "pre", "s", "strong", "ul"}
TAGS |= {"h1", "h2", "h3", "h4", "h5", "h6", "table", "tbody", "td", "th", "thead", "tr"}
LARGEST = 100_000  # signs; what is longer is shown as text: a million of the worst kind take ten seconds to parse
_parser = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable(["table", "strikethrough"])


def render(text: str, *, top: int = 2) -> SafeString | None:
    """Its HTML, the highest heading being `h{top}`; None when the text is too long for that."""
    if len(text) > LARGEST:
        return None
    tokens = _parser.parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + top - 1)}"
    html = _parser.renderer.render(tokens, _parser.options, {})
    cleaned = nh3.clean(
        html,
        tags=TAGS,
        attributes={"a": {"href", "title"}, "ol": {"start"}},
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
    )
    return mark_safe(cleaned)  # noqa: S308  cleaned by nh3 above
