"""Data and fitted estimators that several modules share."""

import os
import shutil
import sys
import warnings

import numpy as np
import pytest
import sklearn
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.fixes import parse_version
from threadpoolctl import threadpool_limits

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae.datasets import load_natural_image_patches

# Before, set_callbacks is absent: test_transformer.py looks for that.
HAS_CALLBACKS = parse_version(sklearn.__version__) >= parse_version("1.9")
collect_ignore = [] if HAS_CALLBACKS else ["training/test_callbacks.py"]


def pytest_configure():
    """Share the cores among the workers of pytest-xdist, as joblib does among its own.

    Else threads of BLAS wait for those of others, 30 times as long as they compute. The
    processes that tests start have the variables, and so compute the same to the bit.
    """
    n_workers = os.environ.get("PYTEST_XDIST_WORKER_COUNT")
    if n_workers is None:
        return
    n_threads = max((os.cpu_count() or 1) // int(n_workers), 1)
    os.environ.setdefault("OMP_NUM_THREADS", str(n_threads))
    # Where a test imports TensorFlow first, it reads this one alone.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(n_threads))
    threadpool_limits(n_threads)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """Draw the same in every run where a test gives no random_state.

    Else it depends on the draw whether a short training warns, and the test fails.
    """
    check_random_state(None).seed(0)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish():
    """Save what has been measured of this process, if anything has.

    A process of pytest-xdist that takes longer than ten seconds to end is killed, and
    its file of coverage is then broken.
    """
    coverage = sys.modules.get("coverage")
    measured = coverage and coverage.Coverage.current()
    if measured:
        measured.stop()
        measured.save()


# No sandbox, since CI runs as root; no traffic of the browser's own.
CHROMIUM_OPTIONS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def has_callbacks():
    """Whether this version of scikit-learn has callbacks."""
    return HAS_CALLBACKS


@pytest.fixture(scope="session")
def digits():
    """300 digits, 64 pixels from 0 to 16, float64."""
    X = load_digits().data[:300]
    X.setflags(write=False)
    return X


@pytest.fixture(scope="session")
def patches():
    """Ng's 10 000 normalised 8x8 patches, float32."""
    X = load_natural_image_patches(random_state=0).astype(np.float32)
    X.setflags(write=False)
    return X


@pytest.fixture(scope="session")
def fitted(digits):
    """A transformer fitted to the digits; not to be changed."""
    return SparseAutoencoderTransformer(
        n_components=20, max_iter=100, tol=0.1, random_state=0
    ).fit(digits)


@pytest.fixture
def compiling(monkeypatch):
    """Return a function that decides whether trainings compile."""

    def decide(answer):
        for module in ("minibatch", "chunking"):
            name = f"sksparse_ae._engine.{module}.worth_compiling"
            monkeypatch.setattr(name, lambda *_: answer)

    return decide


@pytest.fixture
def no_convergence_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


@pytest.fixture
def engine_of():
    """Return a function that makes the engine of a training from a solver."""
    from sksparse_ae._engine.minibatch import MiniBatchEngine, MiniBatches
    from sksparse_ae._engine.optimizers import OptimizerSpec
    from sksparse_ae._engine.state import State
    from sksparse_ae._network.coordinates import Coordinates
    from sksparse_ae._network.problem import Architecture, Problem
    from sksparse_ae._network.scaling import Scaling
    from sksparse_ae._objective.objective import Coefficients

    def engine(solver, weights, output_activation="linear"):
        n_features, n_components = weights[0].shape
        names = "sigmoid", output_activation, "squared_error", "kl"
        architecture = Architecture(n_features, n_components, *names, "float32")
        as_given = Scaling(np.zeros(n_features), 1.0, output_activation == "linear")
        features = Coordinates.of_features("sigmoid")
        training = MiniBatches(
            X=np.zeros((50, n_features), np.float32),
            problem=Problem(architecture, Coefficients(0.1, 3.0, 1e-3), as_given),
            coordinates=features,
            optimizer=OptimizerSpec.from_solver(solver)[0],
            batch_size=50,
            follows=True,
            shuffle=True,
            falls=0.0,
            whole=1,
            rng=np.random.RandomState(0),
            max_iter=1,
            state=State(features.enter(weights), np.full(n_components, 0.5)),
        )
        return MiniBatchEngine([training])

    return engine


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """A browser without a window, driven by selenium."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    missing = [name for name, found in programs.items() if not found]
    if missing:
        pytest.fail(
            f"not installed: {', '.join(missing)}. "
            "On Debian: apt-get install chromium chromium-driver"
        )
    options = webdriver.ChromeOptions()
    options.binary_location = programs["chromium"]
    for option in [
        *CHROMIUM_OPTIONS,
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ]:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, Service(programs["chromedriver"]))
    yield driver
    driver.quit()
