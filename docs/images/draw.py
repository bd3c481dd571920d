"""Draw the pictures of the guide that are no benchmark's and no example's.

``python docs/images/draw.py [PART ...]`` draws all, or those with a PART in their name.
It needs the extras "report" and "browser", Chromium with its driver for report.png, and
Debian's package dataset-fashion-mnist for two of the Displays.
"""

import gzip
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import numpy as np
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from sklearn.datasets import load_digits, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae.inspection import (
    ActivationDisplay,
    ComponentsDisplay,
    LossCurveDisplay,
    ReconstructionDisplay,
)

IMAGES = Path(__file__).parent
CLOTHES = Path("/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz")
DIGITS, _ = load_digits(return_X_y=True)


def fitted(X, n_components=100, **parameters):
    """Return a fit with the defaults and a seed."""
    estimator = SparseAutoencoderTransformer(n_components, random_state=0, **parameters)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(X)


def digits_decoder():
    """Draw what 40 of 100 units add to a digit."""
    return ComponentsDisplay.from_estimator(fitted(DIGITS), n_units=40, n_columns=10)


def clothes():
    """Return the first 10 000 images of Fashion-MNIST, in [0, 1]."""
    with gzip.open(CLOTHES) as file:
        pixels = np.frombuffer(file.read(16 + 10_000 * 784), np.uint8, offset=16)
    return pixels.reshape(-1, 784).astype(np.float32) / 255


def displays_components():
    """Draw what 40 of 100 units add to a piece of clothing."""
    autoencoder = fitted(clothes(), max_iter=50)
    return ComponentsDisplay.from_estimator(autoencoder, n_units=40, n_columns=10)


def displays_reconstruction():
    """Draw eight pieces of clothing, what becomes of them, and the errors."""
    X = clothes()
    return ReconstructionDisplay.from_estimator(fitted(X, max_iter=50), X[10:18])


def displays_bars():
    """Draw the strongest columns of six units on the wine data."""
    wine = load_wine(as_frame=True).data
    scaled = StandardScaler().set_output(transform="pandas").fit_transform(wine)
    return ComponentsDisplay.from_estimator(fitted(scaled, 6, rho=0.1))


def displays_activation():
    """Draw how active 100 units are on the digits."""
    return ActivationDisplay.from_estimator(fitted(DIGITS), DIGITS)


def displays_loss_curve():
    """Draw the course of a training with held-out rows."""
    return LossCurveDisplay.from_estimator(fitted(DIGITS, early_stopping=True))


def report():
    """Save a picture of the report with one unit open."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for option in ("--headless=new", "--no-sandbox", "--disable-gpu"):
        options.add_argument(option)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "digits.html"
        fitted(DIGITS).report(DIGITS, page, image_shape=(8, 8))
        driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
        try:
            size = {"width": 1088, "height": 1260, "deviceScaleFactor": 1}
            command = "Emulation.setDeviceMetricsOverride"
            driver.execute_cdp_cmd(command, {**size, "mobile": False})
            driver.get(page.as_uri())
            driver.find_element("css selector", "tbody[data-unit='1'] button").click()
            driver.save_screenshot(str(IMAGES / "report.png"))
        finally:
            driver.quit()


DISPLAYS = (
    digits_decoder,
    displays_activation,
    displays_bars,
    displays_components,
    displays_loss_curve,
    displays_reconstruction,
)


def main(parts):
    """Draw those whose names contain one of the parts, or all."""
    for draw in (*DISPLAYS, report):
        name = draw.__name__
        if parts and not any(part in name for part in parts):
            continue
        display, path = draw(), IMAGES / f"{name}.png"
        if display is not None:
            display.figure_.savefig(path, dpi=144)
        # A palette, which a third of the bytes hold.
        Image.open(path).convert("RGB").quantize(64).save(path, optimize=True)
        print(name)


if __name__ == "__main__":
    main(sys.argv[1:])
