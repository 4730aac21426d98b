"""Distributions with entry points, as pip would leave them, for a folder that is put on the path."""

import textwrap


def distribution(folder, name, points, group="fastgate.filters", **texts):
    """Write the metadata of a distribution and its modules: entry points by name, texts by module."""
    info = folder / f"{name.replace('-', '_')}-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    lines = "\n".join(f"{point} = {value}" for point, value in points.items())
    (info / "entry_points.txt").write_text(f"[{group}]\n{lines}\n")
    for module, text in texts.items():
        (folder / f"{module}.py").write_text(textwrap.dedent(text))
