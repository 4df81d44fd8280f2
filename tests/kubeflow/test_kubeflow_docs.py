"""docs/kubeflow.md: every command on the page runs, in its order, against the tests' server."""

import re
import shlex
from pathlib import Path

from kubeflow_server import Call, Kubeflow

PAGE = Path(__file__).parents[2] / "docs" / "kubeflow.md"


def test_every_command_of_the_page_runs(call: Call, kubeflow: Kubeflow) -> None:
    kubeflow.multi_user = True
    blocks = re.findall(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("repo-pipeline ")]
    assert len(lines) == 10
    for line in lines:
        done = call(*shlex.split(line)[1:], "--namespace", "team")
        assert done.exit_code == 0, f"{line}\n{done.output}"
    assert len(kubeflow.runs) == 3
    assert not kubeflow.recurring
