"""The watch notices what happens from its first yield on, wherever the paths lead to."""

import asyncio
import contextlib

from fastgate.sources.watch import changes, concerns

TIMEOUT = 10.0


@contextlib.asynccontextmanager
async def watching(path):
    """A function that waits for the next change."""
    iterator = changes([path])

    async def change():
        await asyncio.wait_for(anext(iterator), TIMEOUT)

    await change()
    try:
        yield change
    finally:
        await iterator.aclose()


async def test_what_changes_after_the_first_yield_is_noticed(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("1")
    async with watching(file) as change:
        file.write_text("2")
        await change()


async def test_a_file_that_is_not_there_yet(tmp_path):
    async with watching(tmp_path / "a.yaml") as change:
        (tmp_path / "a.yaml").write_text("1")
        await change()


async def test_a_link_to_a_directory_that_is_swapped_leads_to_the_new_one(tmp_path):
    for name in ("v1", "v2"):
        (tmp_path / name).mkdir()
    link = tmp_path / "current"
    link.symlink_to("v1")
    async with watching(link) as change:
        (tmp_path / "next").symlink_to("v2")
        (tmp_path / "next").replace(link)
        await change()
        (tmp_path / "v2" / "b.yaml").write_text("1")
        await change()


async def test_a_link_to_a_file_that_is_swapped_leads_to_the_new_one(tmp_path):
    for name in ("v1", "v2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.yaml").write_text(name)
    link = tmp_path / "a.yaml"
    link.symlink_to("v1/a.yaml")
    async with watching(link) as change:
        (tmp_path / "next").symlink_to("v2/a.yaml")
        (tmp_path / "next").replace(link)
        await change()
        (tmp_path / "v2" / "a.yaml").write_text("3")
        await change()


def test_neighbours_of_configuration_do_not_concern_it(tmp_path):
    (tmp_path / "v1").mkdir()
    (tmp_path / "current").symlink_to("v1")
    directory, file, link = [tmp_path / "v1"], [tmp_path / "gateway.yml"], [tmp_path / "current"]
    for name in ("access.log", ".a.yaml.swp", "a.yaml~", ".hidden.yaml"):
        assert not any(concerns(paths, f"/x/{name}") for paths in (directory, file, link))
    assert not concerns(file, "/x/other.yaml")
    assert concerns(file, "/x/gateway.yml")
    assert all(concerns(directory, f"/x/{name}") for name in ("a.yaml", "b.yml", "c.json", "..data", "v1"))
    assert concerns(link, "/x/current")
