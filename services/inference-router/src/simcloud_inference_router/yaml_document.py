"""A YAML file in which every key stands once."""

from __future__ import annotations

from typing import Final

import yaml

_MERGE: Final = "tag:yaml.org,2002:merge"


class DuplicateKeyError(ValueError):
    """A key stands twice: the last one would hold, without a word about the first."""


def load_yaml(text: str) -> object:
    """What a YAML document says; None of an empty one.

    Raises:
        yaml.YAMLError: it is none.
        DuplicateKeyError: a key stands twice in a mapping.
    """
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        # Of what is written, before anything is constructed: PyYAML's constructor writes the keys
        # that are merged in ("<<") into the mapping itself (SafeConstructor.flatten_mapping).
        _check_keys(loader, root)
        found: object = loader.construct_document(root)
    finally:
        loader.dispose()
    return found


def _check_keys(loader: yaml.SafeLoader, root: yaml.Node) -> None:
    # Nodes are shared by aliases, and one may be within itself: each is looked at once.
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            _check_mapping(loader, node)
            for key, value in reversed(node.value):
                waiting += (value, key)
        elif isinstance(node, yaml.SequenceNode):
            waiting += reversed(node.value)


def _check_mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> None:
    lines: dict[object, int] = {}
    for key, _ in node.value:
        # What is merged in may be overridden: that is what it is for.
        if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
            continue
        name, line = loader.construct_object(key), key.start_mark.line + 1
        if name in lines:
            raise DuplicateKeyError(
                f"line {line}: `{key.value}` stands in line {lines[name]} already; keep one"
            )
        lines[name] = line
