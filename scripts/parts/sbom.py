"""Writes the bill of materials of a wheel beside it, as CycloneDX 1.6: `python scripts/parts/sbom.py WHEEL`.

It has what the service installs, from the lock file, and what the wheel carries that is no source, from the wheel.
The same wheel and lock give the same bytes: there is no date in it, and its number is made of its content.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import uuid
import zipfile
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

PLACE = "earmark/engine/commands/service/requirements.txt"
SOURCES = (".py", ".service", ".1", ".typed", ".html", ".css", ".mjs", ".svg", "requirements.txt")
"""What of a wheel we wrote, or wrote a program that writes it."""
# SPDX identifiers that packages of the lock use; another text of theirs is the name of a licence
SPDX = {"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC-BY-SA-4.0", "CC0-1.0", "EPL-2.0"}
SPDX |= {"LGPL-2.1-or-later", "MIT", "MIT-0", "MIT-CMU", "MPL-2.0", "PSF-2.0", "Zlib"}
CARRIED = {".tflite": "CC-BY-SA-4.0", ".npz": "CC-BY-SA-4.0", ".json": "Apache-2.0", ".flac": "Flite's"}
"""Licence of what the wheel carries; docs/supply_chain.md tells where each is from."""
PIN = re.compile(r"^([\w.-]+)==([\w.+!-]+)(?: ; (.*?))?(?: \\)?$")


def main() -> int:
    """Writes the file and prints its name."""
    if len(sys.argv) != 2 or not sys.argv[1].endswith(".whl"):
        print("usage: sbom.py WHEEL", file=sys.stderr)
        return 2
    wheel = Path(sys.argv[1])
    out = wheel.with_suffix(".cdx.json")
    out.write_bytes(bill(wheel))
    print(out)
    return 0


def bill(wheel: Path) -> bytes:
    """The file's content."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        about = HeaderParser().parsestr(
            archive.read(next(name for name in names if name.endswith("/METADATA"))).decode()
        )
        packages = list(locked(archive.read(PLACE).decode()))
        carried = [file_component(name, archive.read(name)) for name in sorted(names) if is_carried(name)]
    root = f"earmark@{about['Version']}"
    refs: dict[str, list[str]] = {}
    for package in packages:
        refs.setdefault(package["name"], []).append(package["bom-ref"])
    needs = {package["bom-ref"]: package.pop("needs") for package in packages}
    dependencies = [{"ref": root, "dependsOn": sorted(ref for each in refs.values() for ref in each)}]
    for ref, names in sorted(needs.items()):
        dependencies.append({"ref": ref, "dependsOn": sorted(r for name in names for r in refs[name])})
    content: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": "earmark",
                "version": about["Version"],
                "description": about["Summary"],
                "licenses": licences("Apache-2.0"),
                "hashes": [sha256(wheel.read_bytes())],
                "components": carried,
            }
        },
        "components": packages,
        "dependencies": dependencies,
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    content["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, digest)}"
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def locked(text: str) -> Iterator[dict[str, Any]]:
    """The packages of a lock file, with the names of those that each needs."""
    entry: dict[str, Any] = {}
    for line in text.splitlines():
        found = PIN.match(line)
        if found:
            if entry:
                yield entry
            name, version, marker = found.groups()
            ref = f"pkg:pypi/{name}@{version}"
            entry = {"type": "library", "bom-ref": ref, "purl": ref, "name": name, "version": version}
            entry.update(hashes=[], needs=[])
            if marker:
                entry["properties"] = [{"name": "earmark:for", "value": marker}]
        elif line.startswith("    --hash=sha256:"):
            entry["hashes"].append({"alg": "SHA-256", "content": line.split(":")[1].split()[0]})
        elif line.startswith("    # licence: "):
            entry["licenses"] = licences(line.split(": ", 1)[1])
        elif line.startswith("    # needs: "):
            entry["needs"] = line.split(": ", 1)[1].split()
    if entry:
        yield entry


def licences(text: str) -> list[dict[str, Any]]:
    """As CycloneDX wants them: one SPDX identifier, one expression, or a name."""
    words = [word for word in re.split(r" (?:AND|OR) |[()]", text) if word]
    if text in SPDX:
        return [{"license": {"id": text}}]
    return [{"expression": text}] if set(words) <= SPDX else [{"license": {"name": text}}]


def is_carried(name: str) -> bool:
    """Whether a file of a wheel is no source, and nothing that belongs to every wheel."""
    return ".dist-info/" not in name and "/web/texts/" not in name and not name.endswith((*SOURCES, "/LICENSE.txt"))


def file_component(name: str, content: bytes) -> dict[str, Any]:
    """A file that the wheel carries."""
    return {
        "type": "machine-learning-model" if name.endswith(".tflite") else "file",
        "bom-ref": name,
        "name": name.removeprefix("earmark/"),
        "hashes": [sha256(content)],
        "licenses": licences(CARRIED[Path(name).suffix]),
    }


def sha256(content: bytes) -> dict[str, str]:
    """As CycloneDX has sums."""
    return {"alg": "SHA-256", "content": hashlib.sha256(content).hexdigest()}


if __name__ == "__main__":
    sys.exit(main())
