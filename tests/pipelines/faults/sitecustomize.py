"""Loaded by every Python process that has this folder on PYTHONPATH: what happens to it at a write to MLflow.

FAULT_STEPS names steps. In their processes, before each write through MlflowClient, FAULT_SNAPSHOTS=STORE:FOLDER copies
the store as a kill would leave it; FAULT_KILL=METHOD kills the command and the step before they first call that method;
FAULT_HOLD=METHOD lets the step wait there for whoever kills it.
"""

import functools
import importlib.util
import os
import shutil
import signal
import sys
import time
from importlib.abc import MetaPathFinder

STEPS = os.environ.get("FAULT_STEPS", "").split(",")
WRITES = (
    "set_model_version_tag",
    "set_registered_model_tag",
    "set_registered_model_alias",
    "delete_registered_model_alias",
    "delete_registered_model_tag",
    "set_terminated",
)


class _Client(MetaPathFinder):
    """Changes MlflowClient once it is imported."""

    def find_spec(self, name, path, target=None):
        if name != "mlflow.tracking.client":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def load_and_change(module):
            load(module)
            for method in WRITES:
                write = getattr(module.MlflowClient, method)
                setattr(module.MlflowClient, method, functools.wraps(write)(_disturbed(method, write)))

        spec.loader.exec_module = load_and_change
        return spec


def _disturbed(method, write):
    def call(*arguments, **named):
        # Steps are forked from a server that has imported MLflow already.
        if not set(STEPS) & set(sys.argv):
            return write(*arguments, **named)
        if os.environ.get("FAULT_HOLD") == method:
            time.sleep(600)
        if os.environ.get("FAULT_KILL") == method:
            os.kill(int(os.environ["REPO_COMMAND_PID"]), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
        if "FAULT_SNAPSHOTS" in os.environ:
            _snapshot(method, arguments)
        return write(*arguments, **named)

    return call


def _snapshot(method, arguments):
    store, _, folder = os.environ["FAULT_SNAPSHOTS"].partition(":")
    what = "_".join(str(argument) for argument in arguments[1:] if str(argument).replace("-", "_").isidentifier())
    name = f"{len(os.listdir(folder)):02}-{method}-{what}"
    shutil.copytree(store, os.path.join(folder, name))


if "pipelines.forkserver" in sys.orig_argv:
    sys.meta_path.insert(0, _Client())
