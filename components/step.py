"""How a step becomes a Kubeflow component.

A component's body runs in a process of its own that sees nothing of its module: it imports what it needs, from `repo`
only (inside that process kfp cannot be imported as a whole). The images hold everything, so nothing is installed at run
time.
"""

from functools import partial

from kfp import dsl

from components import images

step = partial(dsl.component, base_image=images.BASE, install_kfp_package=False)
"""A component that needs no torch."""

train_step = partial(dsl.component, base_image=images.TRAIN, install_kfp_package=False)
"""A component that needs torch."""
