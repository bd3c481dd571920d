"""The README's snippet prints what it says, and its form is what tools read."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import sksparse_ae
from sksparse_ae import SparseAutoencoderTransformer

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_snippet_prints_what_the_readme_says():
    (code,) = re.findall(r"^```python\n(.*?)^```", README, re.M | re.S)
    (output,) = re.findall(r"^```text\n(.*?)^```", README, re.M | re.S)
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    printed = [float(line) for line in run.stdout.split()]
    # Rounding differs between machines and versions, and moves a few of 1797 digits.
    assert printed == pytest.approx([float(v) for v in output.split()], abs=0.004)


@pytest.mark.parametrize("heading", ["Try it", "Run the tests"])
def test_a_command_of_the_readme_is_one_line(heading):
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    (command,) = re.findall(r"^```bash\n(.*?)\n```$", section, re.M | re.S)
    assert "\n" not in command
    assert command.startswith("python -m pip install ")


def test_files_that_the_readme_points_to_exist():
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", README)
    assert len(links) > 5
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_pages_that_point_to_the_documentation_find_it():
    link = SparseAutoencoderTransformer()._get_doc_link()
    site = re.compile(r"https://sksparse-ae\.github\.io/sksparse_ae/(\S+)\.html")
    pages = site.findall(f"{README} {link}")
    assert len(pages) > 4
    *_, of_class = pages
    folder, generated, name = of_class.split("/")
    api = (ROOT / "docs" / f"{folder}.rst").read_text(encoding="utf-8")
    assert f":toctree: {folder}/{generated}/" in api
    assert f"   {name.removeprefix('sksparse_ae.')}\n" in api
    assert [p for p in pages[:-1] if not (ROOT / "docs" / f"{p}.rst").exists()] == []


@pytest.mark.parametrize("name", ["CHANGELOG.md", "CITATION.cff"])
def test_the_version_and_its_date_stand_where_readers_look(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    version = re.escape(sksparse_ae.__version__)
    forms = {
        "CHANGELOG.md": rf"^## \[{version}\] - (\S+)$",
        "CITATION.cff": rf"^version: {version}\ndate-released: (\S+)$",
    }
    dates = re.findall(forms[name], text, re.M)
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert dates == re.findall(forms["CHANGELOG.md"], changelog, re.M)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", dates[0])
