"""Strict YAML: read into a frozen schema, each fault said with its file, line and key."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

Schema = TypeVar("Schema", bound=BaseModel)


class Loader(yaml.SafeLoader):
    """Safe YAML where a key said twice is an error, not a silent choice of the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        """Construct a mapping, its keys once each."""
        keys: list[object] = []
        for key, _ in node.value:
            keys.append(self.construct_object(key, deep=True))
            if keys.count(keys[-1]) > 1:
                problem = f"key {key.value} is repeated"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
        return super().construct_mapping(node, deep)


def read(
    source: Path | str, schema: type[Schema], error_type: type[ValueError], name: str
) -> tuple[Schema, str]:
    """Read and check YAML.

    Parameters
    ----------
    source : Path or str
        A file, or the text of one.
    schema : type of BaseModel
        What it must be; a strict schema refuses unknown keys and other types.
    error_type : type of ValueError
        What to raise.
    name : str
        How the faults of a text name it; those of a file name the file.

    Returns
    -------
    content : BaseModel
        Of type `schema`.
    sha256 : str
        Hash of the exact bytes, in hexadecimal.

    Raises
    ------
    ValueError
        Of type `error_type`, with one line for each fault: ``policy.yaml:12: funding.days: ...``.
    """
    name = str(source) if isinstance(source, Path) else name
    try:
        content = source.read_bytes() if isinstance(source, Path) else source.encode()
    except OSError as error:
        raise error_type(f"{name}: cannot be read: {error.strerror}") from error
    try:
        loader = Loader(content)
        root = loader.get_single_node()
        checked = schema.model_validate(loader.construct_document(root) if root else {})
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", error)
        raise error_type(f"{name}:{mark.line + 1 if mark else 1}: {problem}") from error
    except ValidationError as error:
        faults = [(fault["loc"], fault["msg"]) for fault in error.errors()]
        raise error_type(
            "\n".join(
                f"{name}:{line_of(root, at)}: {'.'.join(map(str, at))}: {msg}" for at, msg in faults
            )
        ) from error
    return checked, hashlib.sha256(content).hexdigest()


def line_of(node: yaml.Node | None, path: tuple[int | str, ...]) -> int:
    """Return the line of the deepest key on the path that the file has, from 1."""
    line = 1
    for key in path:
        entries: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        if isinstance(node, yaml.MappingNode):
            entries = {name.value: (name, value) for name, value in node.value}
        elif isinstance(node, yaml.SequenceNode):
            entries = {str(i): (item, item) for i, item in enumerate(node.value)}
        if str(key) not in entries:
            break
        start, node = entries[str(key)]
        line = start.start_mark.line + 1
    return line
