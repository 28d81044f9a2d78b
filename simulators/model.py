"""A language model that is none: it extracts, and says so. Same words in, same words out."""

import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

NOTICE = "*Simulated: an extract of the given figures, not written by a language model.*"
FINGERPRINT = "simulated"
MODELS = [{"id": "simulated", "object": "model", "created": 0, "owned_by": "simulators"}]
NONSENSE = "Certainly! {bananas: yellow,"
NAMES = ("title", "name", "label", "kpi", "id")
MAIN = ("amount", "value", "total")
FIRST = ("target", "previous", "change_percent")  # of the figures beside the main one
LONG_TEXTS = ("markdown", "text", "content", "report", "summary", "body")
MAX_FACTS = 12


def completion(asked: Mapping[str, Any], fault: str = "none") -> dict[str, Any]:
    """The answer to POST /v1/chat/completions; `fault`: nonsense, refuse, filter, length, or none."""
    content, refusal, reason = _said(asked, fault)
    read = sum(_tokens(_text_of(message)) for message in asked["messages"])
    written = _tokens(content or refusal or "")
    return {
        **_head(asked, "chat.completion"),
        "choices": [
            {
                "index": 0,
                "finish_reason": reason,
                "logprobs": None,
                "message": {"role": "assistant", "content": content, "refusal": refusal},
            }
        ],
        "usage": {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written},
    }


def chunks(asked: Mapping[str, Any], fault: str = "none") -> list[dict[str, Any]]:
    whole = completion(asked, fault)
    message, reason = whole["choices"][0]["message"], whole["choices"][0]["finish_reason"]
    head = _head(asked, "chat.completion.chunk")
    deltas = [
        {"role": "assistant"},
        *({"content": piece} for piece in re.findall(r".{1,40}", message["content"] or "", re.S)),
    ]
    if message["refusal"]:
        deltas.append({"refusal": message["refusal"]})
    told = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    told.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    if (asked.get("stream_options") or {}).get("include_usage"):
        told.append({**head, "choices": [], "usage": whole["usage"]})
    return told


def thoughts(asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Pieces without text, as some models write before their answer."""
    head = _head(asked, "chat.completion.chunk")
    tool = {"tool_calls": [{"index": 0, "id": "call", "type": "function", "function": {"name": "n", "arguments": ""}}]}
    deltas: list[dict[str, Any]] = [{"role": "assistant"}, {"reasoning_content": "Well"}, {"reasoning_content": "so"}]
    return [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in [*deltas, tool]]


def _head(asked: Mapping[str, Any], kind: str) -> dict[str, Any]:
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    return {
        "id": f"chatcmpl-{digest[:24]}",
        "object": kind,
        "created": int(time.time()),
        "model": f"simulated-{asked['model']}",
        "system_fingerprint": FINGERPRINT,
    }


def _said(asked: Mapping[str, Any], fault: str) -> tuple[str | None, str | None, str]:
    if fault == "refuse":
        return None, "I cannot help with that (simulated).", "stop"
    if fault == "filter":
        return None, None, "content_filter"
    content = NONSENSE if fault == "nonsense" else _answer(asked)
    return (content[:10], None, "length") if fault == "length" else (content, None, "stop")


def _answer(asked: Mapping[str, Any]) -> str:
    extract = Extract([_text_of(message) for message in asked["messages"] if message["role"] == "user"])
    form = asked.get("response_format") or {}
    if form.get("type") == "json_schema":
        return json.dumps(_filled("", form["json_schema"]["schema"], extract), ensure_ascii=False)
    if form.get("type") == "json_object":
        return json.dumps({"markdown": extract.markdown()}, ensure_ascii=False)
    return extract.markdown()


class Extract:
    """What the first user message gives (figures or sentences), and what later ones ask."""

    def __init__(self, texts: list[str]):
        first, self.asked_besides = (texts or [""])[0], texts[1:]
        data, rest = _json_in(first)
        self.settings = dict(re.findall(r"^(\w+): (.+)$", rest, re.M))
        self.month = next((str(each["month"]) for each in _objects(data) if each.get("month")), "")
        rows = [row for row in _objects(data) if _numbers(row)][:MAX_FACTS]
        self.facts = [_fact(row) for row in rows]
        self.table = _table(rows) if len(rows) > 1 else []
        if not self.facts:
            self.facts = [each for each in re.split(r"(?<=[.!?])\s+", rest.strip()) if each][:3]

    def title(self) -> str:
        return f"Summary {self.month}".strip()

    def markdown(self) -> str:
        lines = [NOTICE, ""]
        lines += self.table or [f"- {fact}" for fact in self.facts] or ["No figures were given."]
        lines += ["", *(f"> Asked besides: {' '.join(text.split())}" for text in self.asked_besides)]
        return "\n".join(lines).strip() + "\n"


def _fact(row: Mapping[str, Any]) -> str:
    """One figure in words: its name, amount and unit, then target, month before and change if they are there."""
    main, *others = _keys(row)
    beside = ", ".join(f"{_called(key)} {_figure(row, key)}" for key in others)
    return f"{_name(row)}: {_figure(row, main)}" + (f" ({beside})" if beside else "")


def _table(rows: list[Mapping[str, Any]]) -> list[str]:
    """Figures in Markdown: one a row, a column for each number that one of them has."""
    found = {key: None for row in rows for key in _keys(row)}
    mains = [key for key in found if key in MAIN]
    keys = [*mains, *sorted((key for key in found if key not in MAIN), key=_rank)]
    lines = [["Figure", *(_called(key).capitalize() for key in keys)], ["---", *("---:" for _ in keys)]]
    lines += [[_cell(_name(row)), *(_cell(_figure(row, key)) for key in keys)] for row in rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def _cell(text: str) -> str:
    return " ".join(text.replace("\\", "\\\\").replace("|", "\\|").split())


def _name(row: Mapping[str, Any]) -> str:
    return next((str(row[key]) for key in NAMES if isinstance(row.get(key), str)), "Figure")


def _keys(row: Mapping[str, Any]) -> list[str]:
    """Of its numbers, the main one first."""
    numbers = _numbers(row)
    main = next((key for key in MAIN if key in numbers), next(iter(numbers)))
    return [main, *sorted((key for key in numbers if key != main), key=_rank)]


def _called(key: str) -> str:
    return key.replace("_percent", "").replace("_", " ")


def _figure(row: Mapping[str, Any], key: str) -> str:
    """With its unit; "–" where there is none."""
    if key not in _numbers(row):
        return "–"
    unit = "%" if key.endswith("_percent") else row["unit"] if isinstance(row.get("unit"), str) else ""
    return f"{_plain(row[key])} {unit}".rstrip()


def _rank(key: str) -> int:
    return FIRST.index(key) if key in FIRST else len(FIRST)


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    return {key: value for key, value in row.items() if isinstance(value, int | float) and not isinstance(value, bool)}


def _plain(number: float) -> str:
    return f"{number:,.2f}".rstrip("0").rstrip(".")


def _objects(data: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(data, Mapping):
        yield data
        for value in data.values():
            yield from _objects(value)
    elif isinstance(data, list):
        for value in data:
            yield from _objects(value)


def _json_in(text: str) -> tuple[Any, str]:
    """The first JSON object or list that begins a line, and the text without it."""
    for match in re.finditer(r"^\s*(?=[{\[])", text, re.M):
        try:
            value, end = json.JSONDecoder().raw_decode(text, match.end())
        except ValueError:
            continue
        return value, text[: match.end()] + text[end:]
    return None, text


def _filled(name: str, schema: Any, extract: Extract) -> Any:
    """A value that obeys the schema, from the extract where a field's name says what belongs there."""
    if not isinstance(schema, Mapping):
        return None
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return _filled(name, schema[word][0], extract)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = "null" if "null" in kind and name not in LONG_TEXTS else kind[0]
    if kind == "object":
        return {key: _filled(key, each, extract) for key, each in schema.get("properties", {}).items()}
    if kind == "array":
        return _list(schema, extract)
    if kind == "string":
        return _string(name, schema, extract)
    return {"null": None, "boolean": False}.get(kind, schema.get("minimum", 0))


def _list(schema: Mapping[str, Any], extract: Extract) -> list[Any]:
    items = schema.get("items", {})
    least, most = schema.get("minItems", 0), schema.get("maxItems", 5)
    if isinstance(items, Mapping) and items.get("type") == "string" and "enum" not in items:
        found = extract.facts[:most]
        return found + [NOTICE] * (least - len(found))
    return [_filled("", items, extract) for _ in range(least)]


def _string(name: str, schema: Mapping[str, Any], extract: Extract) -> str:
    text = extract.markdown() if name in LONG_TEXTS else extract.title() if name == "title" else "simulated"
    return text[: schema.get("maxLength", len(text))]


def _text_of(message: Mapping[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, list):
        return "\n".join(part.get("text", "") for part in content if isinstance(part, Mapping))
    return str(content)


def _tokens(text: str) -> int:
    return max(1, len(text) // 4)
