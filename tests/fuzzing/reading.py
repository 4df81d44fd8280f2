"""Fuzzing of the readers: make fuzz-reading. Whatever bytes come in, a table or a UserError comes out.

Atheris (libFuzzer) keeps the inputs that reach new lines of repo/annotations and changes them further. What is found
is kept under build/fuzzing/finds, one file a fault, with the command that repeats it.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

FINDS = Path("build/fuzzing/finds")
CORPUS = Path("build/fuzzing/corpus")
_LONGEST = 1 << 19
_MOST_CRASHES = 5
_KEY = "a key for fuzzing, no secret"
_SETTINGS: list[dict[str, Any]] = [
    {"pseudonymise": True},
    {"columns": {"prompt": "info.post", "response_a": "summaries.0.text", "response_b": "summaries.1.text",
                 "preference": "choice", "annotator_id": "worker"}, "values": {"a": [0], "b": [1]}},
    {"columns": {"prompt": "prompt.0.content"}},
    {"columns": {"task": "task", "worker": "worker", "label": "label"}},
    {"columns": {"chosen": "rejected", "rejected": "chosen"}},
    {"columns": {"response_a": "response_b", "response_b": "response_a"}, "ignore": ["gold"]},
    {"columns": {"preference": "gold"}},
    {"columns": {"prompt": "", "created_at": "prompt"}},
    {"values": {"a": [1], "b": [2], "tie": [0], "skip": ["nan", True]}},
    {"values": {"a": ["a"], "skip": ["b"]}, "ties": "split"},
    {"display": "shown"},
    {"display": "unknown"},
    {"display": "preference"},
    {"ignore": ["prompt", "winner", "gold", "system"]},
]  # fmt: skip


def main() -> int:
    """Fuzz for some seconds, or repeat one case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--repeat", type=Path, metavar="CASE", help="read one kept case again")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ["REPO_PSEUDONYM_KEY"] = _KEY
    if options.repeat:
        return _repeat(options.repeat)
    return _work(options.seconds) if options.worker else _fuzz(options.seconds)


def _repeat(path: Path) -> int:
    from tests.fuzzing.cases import Case, FindError, check

    case = Case.from_bytes(path.read_bytes())
    try:
        check(case, validated=True)
    except FindError as find:
        print(f"{find.place}\n{find}")
        return 1
    print(f"{path}: a table or a UserError")
    return 0


def _fuzz(seconds: int) -> int:
    """Run workers until the time is over: one ends early where its process dies, which is a find of its own."""
    shutil.rmtree(CORPUS, ignore_errors=True)
    shutil.rmtree(FINDS, ignore_errors=True)
    FINDS.mkdir(parents=True)
    _write_corpus(CORPUS)
    end, crashes = time.monotonic() + seconds, 0
    while (left := int(end - time.monotonic())) > 0 and crashes < _MOST_CRASHES:
        done = subprocess.run(
            [sys.executable, "-m", "tests.fuzzing.reading", "--worker", "--seconds", str(left)], check=False
        )
        crashes += done.returncode != 0
    finds = sorted(FINDS.iterdir())
    print(f"\n{len(finds)} finds" + (", and workers that crashed" if crashes else ""))
    for path in finds:
        print(f"  {sys.executable} -m tests.fuzzing.reading --repeat {path}")
    return 1 if finds or crashes else 0


def _write_corpus(folder: Path) -> None:
    from tests.fuzzing.cases import Case
    from tests.fuzzing.corpus import files, layouts, side_files

    folder.mkdir(parents=True)
    for layout, rows in (layouts() | side_files()).items():
        reader = {"gold": "gold", "margins": "margins", "line-margins": "margins", "crowd": "votes"}
        for number, (name, content) in enumerate(files(rows)):
            case = Case(name, content, reader.get(layout, "annotations"), {})
            (folder / f"{layout}-{number}").write_bytes(case.to_bytes())


def _work(seconds: int) -> int:
    import atheris

    # The names of the code coverage come from the import: whatever is imported before stays unseen.
    with atheris.instrument_imports(include=["repo.annotations"]):
        from tests.fuzzing.cases import Case, FindError, check
    from tests.fuzzing.corpus import layouts, side_files
    from tests.fuzzing.mutations import changed_bytes, changed_rows, written

    started = list((layouts() | side_files()).values())
    seen: set[str] = set()

    def read(data: bytes) -> None:
        try:
            case = Case.from_bytes(data)
        except ValueError:
            return
        try:
            check(case)
        except FindError as find:
            if find.place not in seen:
                seen.add(find.place)
                path = FINDS / hashlib.sha256(find.place.encode()).hexdigest()[:12]
                path.write_bytes(data)
                print(f"\nFOUND {path}: {find.place}\n{str(find)[-1500:]}\n", flush=True)

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        random = Random(seed)
        try:
            case = Case.from_bytes(data)
        except ValueError:
            return data[:most]
        if random.random() < 0.6:
            rows = _rows(case.content) if random.random() < 0.7 else None
            name, content = written(changed_rows(rows or random.choice(started), random), random)
            case = replace(case, name=name, content=content)
        elif random.random() < 0.5:
            case = replace(case, content=changed_bytes(case.content, random))
        else:
            case = replace(case, content=bytes(atheris.Mutate(case.content, max(1, most - 4096))))
        if random.random() < 0.2:
            case = replace(case, settings=random.choice([{}, *_SETTINGS]))
        if random.random() < 0.1:
            case = replace(case, reader=random.choice(("annotations", "votes", "votes", "gold", "margins")))
        changed = case.to_bytes()
        return changed if len(changed) <= most else data[:most]

    arguments = [
        "reading", str(CORPUS), f"-max_total_time={seconds}", f"-max_len={_LONGEST}", f"-artifact_prefix={FINDS}/",
        "-rss_limit_mb=6000", "-timeout=86400", "-verbosity=0", "-print_final_stats=1", "-len_control=0",
    ]  # fmt: skip
    atheris.Setup(arguments, read, custom_mutator=mutate)
    atheris.Fuzz()
    return 0


def _rows(content: bytes) -> list[dict[str, Any]] | None:
    """Return the rows of JSON lines or an array; None of anything else."""
    try:
        text = content.decode()
        rows = json.loads(text) if text[:1] == "[" else [json.loads(line) for line in text.splitlines()]
        json.dumps(rows)
    except (ValueError, RecursionError):
        return None
    sound = isinstance(rows, list) and all(isinstance(row, dict) for row in rows)
    return rows if sound else None


if __name__ == "__main__":
    sys.exit(main())
