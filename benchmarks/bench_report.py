"""Time a report of 1000 units on 60 000 samples: to write, to open, to sort.

Run ``python benchmarks/bench_report.py [--repeats N] [--images FILE]``. It needs the
extra "browser" and Debian's chromium and chromium-driver. README.md says what is
measured.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from _common import idx_images
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from sksparse_ae import SparseAutoencoderTransformer

OPTIONS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]


def load_samples(file):
    """Return noise, or the images of a gzipped IDX file, as float32 in [0, 1]."""
    if file is None:
        return np.random.default_rng(0).random((60_000, 784), dtype=np.float32)
    return idx_images(file)


def seconds(action, *arguments):
    start = time.perf_counter()
    action(*arguments)
    return time.perf_counter() - start


def time_browser(path):
    """Return the seconds to open the page in a new browser, and to sort it."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    with tempfile.TemporaryDirectory() as profile:
        for option in [*OPTIONS, f"--user-data-dir={profile}"]:
            options.add_argument(option)
        driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
        try:
            opened = seconds(driver.get, path.as_uri())
            sort = """
                document.querySelector("button[data-key=sparseness]").click();
                return document.querySelector("tbody[data-unit]").offsetHeight;
            """
            return opened, seconds(driver.execute_script, sort)
        finally:
            driver.quit()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--images", type=Path, help="IDX file of 28x28 images, gzipped")
    arguments = parser.parse_args()

    X = load_samples(arguments.images)
    estimator = SparseAutoencoderTransformer(1000, random_state=0).partial_fit(X[:2000])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        written = seconds(estimator.report, X, path, (28, 28))
        print(f"write {written:.1f} s, {path.stat().st_size / 1e6:.1f} MB")
        times = [time_browser(path) for _ in range(arguments.repeats)]
    for name, values in zip(("open", "sort"), zip(*times, strict=True), strict=True):
        print(
            f"{name}: median {statistics.median(values):.2f} s, max {max(values):.2f}"
        )


if __name__ == "__main__":
    main()
