"""Each protection taken away in turn, and whether the campaign notices.

    python -m tests.simulation.removals            every removal, by its recorded seed
    python -m tests.simulation.removals --search   look for a seed of each, in 1 to 1000

The edits are made in a copy of the tree, so that nothing here changes.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[2]
LIST = Path(__file__).with_suffix(".toml")
COPIED = ("gateway", "sql", "asterisk-conf")
SEEDS_MAX = 1000
TRIES = 3
"""Time and sockets are real, so a seed that hangs on milliseconds may need another run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One text of one file, and what stands in its place."""

    file: str
    old: str
    new: str

    def fits(self, tree: Path) -> bool:
        """Return whether the file holds the text once."""
        return (tree / self.file).read_text(encoding="utf-8").count(self.old) == 1

    def make(self, tree: Path) -> None:
        """Change the file. Raises ``ValueError`` if the text does not fit any more."""
        if not self.fits(tree):
            raise ValueError(f"{self.file} does not hold the text once")
        file = tree / self.file
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace(self.old, self.new), encoding="utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """One protection, as the edits that take it away from wherever it stands.

    ``seed`` finds that, and what it counts then is ``finds``, one of the campaign's columns.
    """

    name: str
    because: str
    edits: tuple[Edit, ...]
    seed: int
    finds: str

    @contextmanager
    def made(self) -> Iterator[Path]:
        """Lend a copy of the tree without the protection.

        Raises ``ValueError`` if an edit does not fit: then the product has changed, and the list
        must follow.
        """
        with TemporaryDirectory(prefix="removal-") as folder:
            tree = Path(folder)
            for name in COPIED:
                shutil.copytree(
                    ROOT / name,
                    tree / name,
                    symlinks=True,
                    ignore=shutil.ignore_patterns("__pycache__"),
                )
            for edit in self.edits:
                edit.make(tree)
            yield tree


def removals() -> tuple[Removal, ...]:
    """Return the list, in its order."""
    listed = tomllib.loads(LIST.read_text(encoding="utf-8"))["removal"]
    return tuple(
        Removal(**each | {"edits": tuple(Edit(**edit) for edit in each["edits"])})
        for each in listed
    )


def found(removal: Removal, *options: str) -> dict[str, int]:
    """Return what a campaign counts without the protection; ``options`` say which seeds."""
    with removal.made() as tree:
        return _counts(tree, *options)


def is_found(removal: Removal) -> bool:
    """Return whether the recorded seed finds what it found before."""
    return any(found(removal, "--seed", str(removal.seed)).get(removal.finds) for _ in range(TRIES))


def is_clean(seed: int) -> bool:
    """Return whether a seed finds nothing in the product as it is: else it proves nothing of it."""
    return not _counts(ROOT, "--seed", str(seed))


def searched(removal: Removal) -> dict[str, int]:
    """Return what the first seed counts that finds the removal, and nothing without it."""
    first = 1
    while first <= SEEDS_MAX:
        left = SEEDS_MAX - first + 1
        counts = found(removal, "--from", str(first), "--seeds", str(left), "--stop")
        if not counts or (counts.get(removal.finds) and is_clean(counts["seed"])):
            return counts
        first = counts["seed"] + 1
    return {}


def _counts(tree: Path, *options: str) -> dict[str, int]:
    """Return what a campaign of a tree counts, and the last seed that found something."""
    with TemporaryDirectory(prefix="removal-logs-") as logs:
        done = subprocess.run(
            [sys.executable, "-m", "gateway.cli", "simulate", "--json", "--logs", logs, *options],
            cwd=tree,
            env=os.environ | {"PYTHONPATH": str(tree)},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{tree}: {done.stderr}")
    counts: dict[str, int] = {}
    for seed in json.loads(done.stdout)["shown"]:
        for fault in seed["faults"]:
            counts[fault["wrong"]] = counts.get(fault["wrong"], 0) + fault["amount"]
        if seed["faults"]:
            counts["seed"] = seed["seed"]
    return counts


def main() -> int:
    """Run the recorded seeds, or look for new ones; return how many removals stay unnoticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--search", action="store_true", help="look for a seed of each")
    parser.add_argument("names", nargs="*", help="only these")
    chosen = parser.parse_args()
    unnoticed = 0
    for removal in removals():
        if chosen.names and removal.name not in chosen.names:
            continue
        if chosen.search:
            result: object = searched(removal)
        else:
            result = is_found(removal) and is_clean(removal.seed)
        unnoticed += not result
        sys.stdout.write(f"{removal.name}: {result}\n")
        sys.stdout.flush()
    return unnoticed


if __name__ == "__main__":
    sys.exit(main())
