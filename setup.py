"""What setup.cfg cannot say: the recipes of models/, and this file, stay in the repository, and out of the wheel."""

from __future__ import annotations

from typing import Any

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildPy(build_py):  # type: ignore[misc]
    """Of `earmark.models` only the package itself, with its data; in an editable installation all of it.

    The repository's own folder is the package `earmark`.
    """

    def find_package_modules(self, package: str, package_dir: str) -> list[Any]:
        """(package, module, file) of what is installed."""
        found: list[Any] = super().find_package_modules(package, package_dir)
        if package == "earmark":
            return [entry for entry in found if entry[1] in ("__init__", "__main__", "cli")]
        if package != "earmark.models" or self.editable_mode:
            return found
        return [entry for entry in found if entry[1] == "__init__"]


setup(cmdclass={"build_py": BuildPy})
