"""Strict YAML: a file read into a frozen pydantic model, faults named by file, line and key."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Annotated, NamedTuple, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError


def exact(number: float) -> Decimal:
    """Return the decimal number that the float is written as: 0.1 is one tenth."""
    return Decimal(str(number))


def _as_written(number: object) -> object:
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    return Decimal(str(number)) if is_number else number


Number = Annotated[Decimal, BeforeValidator(_as_written)]
Rate = Annotated[Number, Field(ge=0, le=1)]


class Section(BaseModel):
    """A part of a file, read strictly: no unknown key, no conversion, no change afterwards."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Whole(Section):
    """All of a file, with its identity."""

    _sha256: str = PrivateAttr(default="")
    _content: bytes = PrivateAttr(default=b"")

    @property
    def sha256(self) -> str:
        """Hash of the file's exact bytes, in hexadecimal: the identity of what it says."""
        return self._sha256

    @property
    def content(self) -> bytes:
        """The file's exact bytes."""
        return self._content


Model = TypeVar("Model", bound=Whole)


class _Document(NamedTuple):
    """A file's exact bytes, and its name in messages."""

    name: str
    content: bytes


class _Loader(yaml.SafeLoader):
    """Safe YAML where a key said twice is an error, not a silent choice of the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        keys: list[object] = []
        for key, _ in node.value:
            keys.append(self.construct_object(key, deep=True))
            if keys.count(keys[-1]) > 1:
                problem = f"key {key.value} is repeated"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
        return super().construct_mapping(node, deep)


def read(source: Path | str, kind: str, model: type[Model], error: type[ValueError]) -> Model:
    """Read and check a file, or the text of one, called `kind` in messages.

    Parameters
    ----------
    source : Path or str
        A file, or the text of one.
    kind : str
    model : type of Whole
    error : type of ValueError
        What to raise.

    Raises
    ------
    error
        When the file cannot be read, else with one line for each fault:
        ``file.yaml:12: section.key: ...``.
    """
    return _parsed(_opened(source, kind, error), model, error)


def _opened(source: Path | str, kind: str, error: type[ValueError]) -> _Document:
    if isinstance(source, str):
        return _Document(kind, source.encode())
    try:
        return _Document(str(source), source.read_bytes())
    except OSError as fault:
        raise error(f"{source}: cannot be read: {fault.strerror}") from fault


def _parsed(document: _Document, model: type[Model], error: type[ValueError]) -> Model:
    name = document.name
    try:
        loader = _Loader(document.content)
        root = loader.get_single_node()
        checked = model.model_validate(loader.construct_document(root) if root else {})
    except yaml.YAMLError as fault:
        mark, problem = getattr(fault, "problem_mark", None), getattr(fault, "problem", fault)
        raise error(f"{name}:{mark.line + 1 if mark else 1}: {problem}") from fault
    except ValidationError as fault:
        faults = [(_path(one), one["msg"]) for one in fault.errors()]
        lines = [f"{name}:{_line(root, at)}: {'.'.join(map(str, at))}: {msg}" for at, msg in faults]
        raise error("\n".join(lines)) from fault
    checked._content = document.content
    checked._sha256 = hashlib.sha256(document.content).hexdigest()
    return checked


def fault_at(*path: str) -> Callable[[str], PydanticCustomError]:
    """Make a fault that concerns several keys, told at the line of one of them.

    A validator of the section above raises it: ``raise fault_at("lgd_rate")("must fall")``.
    """
    return lambda message: PydanticCustomError(
        "inconsistent", "{said}", {"said": message, "path": path}
    )


def _path(fault: ErrorDetails) -> tuple[int | str, ...]:
    """Return where a fault is, in keys from the root."""
    return (*fault["loc"], *fault.get("ctx", {}).get("path", ()))


def _line(node: yaml.Node | None, path: tuple[int | str, ...]) -> int:
    """Return the line of the deepest key on the path that the file has, from 1.

    A step that the file does not have, such as the tag of a union, is passed over.
    """
    line = 1
    for key in path:
        entries: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        if isinstance(node, yaml.MappingNode):
            entries = {name.value: (name, value) for name, value in node.value}
        elif isinstance(node, yaml.SequenceNode):
            entries = {str(i): (item, item) for i, item in enumerate(node.value)}
        if str(key) in entries:
            start, node = entries[str(key)]
            line = start.start_mark.line + 1
    return line
