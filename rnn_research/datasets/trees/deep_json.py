"""JSON of any depth: Python's own reader is recursive, and gives up at a thousand levels."""

from __future__ import annotations

import json
import re
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

WHITE = re.compile(r"[ \t\n\r]*")
NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?")
CONSTANTS = {"true": True, "false": False, "null": None}
QUICK = json.JSONDecoder()


def read_value(text: str, at: int) -> tuple[Any, int]:
    """The JSON value that starts at a place of a text, and where it ends. As `json.JSONDecoder.raw_decode`, at any
    depth.

    Raises:
        json.JSONDecodeError: there is none.
    """
    at = _white(text, at)
    try:
        return QUICK.raw_decode(text, at)
    except RecursionError:
        return _read_deep(text, at)


def _read_deep(text: str, at: int) -> tuple[Any, int]:
    """`stack` holds the open objects and lists, each object with the key that its next value is for."""
    stack: list[tuple[Any, str]] = []
    while True:
        char = text[at : at + 1]
        value, at = ({} if char == "{" else [], at + 1) if char in ("{", "[") else _scalar(text, at)
        if char in ("{", "["):
            at = _white(text, at)
            if text[at : at + 1] != _closing(value):
                key, at = _key(text, at) if char == "{" else ("", at)
                stack.append((value, key))
                continue
            at += 1
        while stack:  # the value is whole: it belongs to what is open
            above, key = stack.pop()
            if isinstance(above, dict):
                above[key] = value
            else:
                above.append(value)
            at = _white(text, at)
            if text[at : at + 1] == ",":
                at = _white(text, at + 1)
                key, at = _key(text, at) if isinstance(above, dict) else ("", at)
                stack.append((above, key))
                break
            if text[at : at + 1] != _closing(above):
                raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
            value, at = above, at + 1
        else:
            return value, at


def _closing(value: Any) -> str:
    return "}" if isinstance(value, dict) else "]"


def _white(text: str, at: int) -> int:
    found = WHITE.match(text, at)
    return at if found is None else found.end()


def _key(text: str, at: int) -> tuple[str, int]:
    """The key of an object's next value, and where this value starts."""
    if text[at : at + 1] != '"':
        raise json.JSONDecodeError("Expecting property name enclosed in double quotes", text, at)
    key, at = scanstring(text, at + 1, True)
    at = _white(text, at)
    if text[at : at + 1] != ":":
        raise json.JSONDecodeError("Expecting ':' delimiter", text, at)
    return key, _white(text, at + 1)


def _scalar(text: str, at: int) -> tuple[Any, int]:
    if text[at : at + 1] == '"':
        return scanstring(text, at + 1, True)
    for name, value in CONSTANTS.items():
        if text.startswith(name, at):
            return value, at + len(name)
    found = NUMBER.match(text, at)
    if found is None:
        raise json.JSONDecodeError("Expecting value", text, at)
    return json.loads(found[0]), found.end()
