"""What Home Assistant's integrations need besides itself: `requirements.py WHEEL FOLDER DOMAIN…`.

Home Assistant installs these when an integration is set up, from the internet; here they are installed before. Writes
`requirements.txt`, from the manifests in the wheel and in those that they depend on, and its `constraints.txt`.
"""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path


def main() -> None:
    """Reads the wheel, writes two files."""
    wheel, folder, *domains = sys.argv[1:]
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
        found: set[str] = set()
        seen: set[str] = set()
        while domains:
            domain = domains.pop()
            manifest = f"homeassistant/components/{domain}/manifest.json"
            if domain in seen or manifest not in names:  # an older release has not got all of them
                continue
            seen.add(domain)
            values = json.loads(packed.read(manifest))
            found |= set(values.get("requirements", []))
            domains += values.get("dependencies", [])
        Path(folder, "requirements.txt").write_text("\n".join(sorted(found)) + "\n", "utf-8")
        constraints = packed.read("homeassistant/package_constraints.txt")
        Path(folder, "constraints.txt").write_bytes(constraints)


main()
