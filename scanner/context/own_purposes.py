"""Reads an organisation's own purposes: a YAML file that says what is broader than each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from scanner.errors import ConfigError, ScannerError
from scanner.purposes import Purposes
from scanner.yamlsafe import load_yaml, shown


def read_purposes(file: str | None) -> Purposes:
    """The hierarchy with the terms of `file`, each with a broader term or a list of them.

    Raises ConfigError naming the file and the term, or the path of a circle.
    """
    if file is None:
        return Purposes()
    try:
        tree = load_yaml(Path(file))
    except ScannerError as error:
        raise ConfigError(str(error)) from None
    if not isinstance(tree, Mapping) or not tree:
        raise ConfigError(f"{file}: expected own terms with what is broader: 'term: dpv:Marketing'")
    own: dict[str, list[str]] = {}
    for term, value in tree.items():
        broader = value if isinstance(value, list) else [value]
        if not broader or not all(isinstance(name, str) and name.strip() for name in broader):
            raise ConfigError(
                f"{file}: {shown(str(term))}: expected a broader term, or a list of them, as text"
            )
        own[str(term)] = broader
    return Purposes.of(own, file)
