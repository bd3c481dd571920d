"""Links to other packages' documentation without the network.

``docs/links.txt`` lists the names that this documentation links to and the pages where
they stand. From it, this extension writes the inventories that
``sphinx.ext.intersphinx`` reads, so that nothing is downloaded in a build.
"""

import tempfile
import zlib
from pathlib import Path

HEADER = b"""# Sphinx inventory version 2
# Project: %s
# Version: stable
# The remainder of this file is compressed using zlib.
"""


def read_links(path):
    """Return, for each package, its address and the lines of its inventory."""
    packages, lines = {}, []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        words = line.split()
        if not words or words[0] == "#":
            continue
        if words[0] == "package":
            _, name, address, pattern = words
            lines = []
            packages[name] = address, lines
        elif len(words) in (2, 3):
            kind, target = words[:2]
            page = words[2] if len(words) == 3 else pattern
            page = page.replace("NAME", target)
            lines.append(f"{target} {kind} 1 {page} -\n")
        else:
            raise ValueError(f"{path}:{number}: not a package, nor a name: {line!r}")
    return packages


def write_inventories(app, config):
    """Write an inventory for each package and tell intersphinx of them."""
    folder = Path(tempfile.mkdtemp(prefix="inventories"))
    for name, (address, lines) in read_links(Path(app.srcdir) / "links.txt").items():
        inventory = folder / f"{name}.inv"
        text = zlib.compress("".join(lines).encode())
        inventory.write_bytes(HEADER % name.encode() + text)
        config.intersphinx_mapping[name] = (address, str(inventory))


def setup(app):
    """Run before intersphinx reads its mapping."""
    app.connect("config-inited", write_inventories, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
