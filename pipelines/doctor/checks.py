"""Which checks there are, in which order, and which of them need another."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from pipelines.doctor import images, kubeflow_checks, machine_checks, mlflow_checks, source_checks
from pipelines.doctor.finding import Check, skipped
from pipelines.kubeflow.connection import UnnamedError
from repo.errors import UserError
from repo.settings import Settings
from repo.tracking.store import Server, Store

if TYPE_CHECKING:
    from pipelines.kubeflow.options import Connect

_SERVER = "MLflow"
_CLUSTER = "Kubeflow"


@dataclass(frozen=True)
class Patient:
    """What is looked at.

    Attributes:
        settings: of the run to come.
        store: where it will be kept.
        connect: makes a client of Kubeflow, where one is named.
        data, inbox: what it will read, None where not said.
        in_cluster: whether paths are those inside the steps' pods.
    """

    settings: Settings
    store: Store | Server
    connect: "Connect"
    data: str | None = None
    inbox: str | None = None
    in_cluster: bool = False

    @property
    def sources(self) -> list[str]:
        """What it will read."""
        return [source for source in (self.data, self.inbox) if source is not None]


def checks(patient: Patient) -> Iterator[Check]:
    """Yield all checks that there are for what is named."""
    yield from _machine(patient)
    yield from _mlflow(patient)
    yield from _sources(patient)
    yield from _kubeflow(patient)


def _machine(patient: Patient) -> Iterator[Check]:
    yield Check("versions", machine_checks.versions)
    yield Check("settings", partial(machine_checks.settings_are_sound, patient.settings))
    yield Check("policy", partial(machine_checks.model, patient.settings))
    yield Check("disk", partial(machine_checks.room, patient.store))


def _mlflow(patient: Patient) -> Iterator[Check]:
    store, registry = patient.store, patient.settings.registry
    yield Check(_SERVER, partial(mlflow_checks.reach, store))
    yield Check("MLflow version", partial(mlflow_checks.same_version, store), _SERVER)
    yield Check("MLflow runs", partial(mlflow_checks.write_run, store, registry.experiment), _SERVER)
    yield Check("MLflow models", partial(mlflow_checks.write_model, store, registry.model), _SERVER)


def _sources(patient: Patient) -> Iterator[Check]:
    looks = {"data": (patient.data, source_checks.look_at_data), "inbox": (patient.inbox, source_checks.look_at_inbox)}
    for name, (source, look) in looks.items():
        if source is None:
            continue
        if patient.in_cluster and "://" not in source:
            yield Check(name, partial(skipped, f"{source}: is a path inside the pods"))
        else:
            yield Check(name, partial(look, source))


def _kubeflow(patient: Patient) -> Iterator[Check]:
    if not _is_named(patient.connect):
        yield Check(_CLUSTER, partial(skipped, "no host named; --host or KF_PIPELINES_ENDPOINT names one"))
        return
    cluster = kubeflow_checks.Cluster(patient.connect)
    yield Check(_CLUSTER, cluster.reach)
    yield Check("Kubeflow pipelines", cluster.pipelines, _CLUSTER)
    yield Check("Kubeflow runs", cluster.runs, _CLUSTER)
    paths = partial(kubeflow_checks.seen_by_pods, in_cluster=patient.in_cluster)
    yield Check("seen by pods", partial(paths, patient.store, patient.settings, patient.sources))
    yield Check("GPU in pods", partial(machine_checks.accelerators, patient.settings))
    for name in images.compiled():
        yield Check(f"image {name}", partial(images.look, name))


def _is_named(connect: "Connect") -> bool:
    """Whether a Kubeflow is meant; whether its options are right, its own check says."""
    try:
        connect.connection()
    except UnnamedError:
        return False
    except UserError:
        return True
    return True
