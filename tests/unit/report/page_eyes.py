"""What the tests see of the report page: its elements, what it would fetch, what would run as code."""

import base64
import hashlib
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "input", "br", "hr", "img"}


@dataclass
class Element:
    """One element with its attributes, its children, and the text in it."""

    tag: str
    attributes: dict[str, str]
    children: list["Element"] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text in it, with single spaces."""
        return " ".join(" ".join(self.pieces).split())

    def find(self, tag: str, **attributes: str) -> list["Element"]:
        """Return the elements below it of a tag, and with these attributes; `class_` stands for class."""
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        found = []
        for child in self.children:
            if child.tag == tag and all(
                value in child.attributes.get(name, "").split() if name == "class" else
                child.attributes.get(name) == value
                for name, value in wanted.items()
            ):  # fmt: skip
                found.append(child)
            found += child.find(tag, **attributes)
        return found


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Element("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.pieces.append(data)


def parsed(html: str) -> Element:
    """Return the document's root; AssertionError where an element is closed that is not open."""
    reader = _Reader()
    reader.feed(html)
    assert len(reader.open) == 1, f"<{reader.open[-1].tag}> is never closed"
    return reader.root


def elements(root: Element) -> list[Element]:
    """Return all elements below one, itself included."""
    return [root, *(found for child in root.children for found in elements(child))]


def foreign_code(html: str) -> list[str]:
    """Return what would run besides the one script that the page's policy lets run."""
    root = parsed(html)
    policies = [
        each.attributes.get("content", "") for each in root.find("meta", http_equiv="Content-Security-Policy")
    ]
    allowed = set(re.findall(r"'sha256-([^']+)'", " ".join(policies)))
    found = []
    for element in elements(root):
        if element.tag == "script":
            code = "".join(element.pieces)
            if base64.b64encode(hashlib.sha256(code.encode()).digest()).decode() not in allowed:
                found.append(f"script {code[:40]!r}")
        found += [f"{name} of {element.tag}" for name in element.attributes if name.startswith("on")]
        for name in ("href", "src", "xlink:href", "action"):
            if element.attributes.get(name, "").strip().lower().startswith("javascript:"):
                found.append(f"{name} of {element.tag}")
        if element.tag in {"iframe", "object", "embed", "base", "form"}:
            found.append(element.tag)
    return found


def fetched(html: str) -> list[str]:
    """Return the addresses that the page would fetch by itself, or link to outside of its own folder."""
    root = parsed(html)
    found = []
    for element in elements(root):
        for name in ("src", "href", "srcset", "xlink:href", "data", "poster"):
            address = element.attributes.get(name, "")
            if address and not address.startswith(("#", "./", "data:")):
                found.append(address)
    for css in [*("".join(each.pieces) for each in root.find("style")), *(
        element.attributes.get("style", "") for element in elements(root)
    )]:  # fmt: skip
        found += [
            url for url in re.findall(r"url\(\s*['\"]?([^'\")]*)", css) if not url.startswith(("#", "data:"))
        ]
        found += re.findall(r"@import[^;]*", css)
    return found
