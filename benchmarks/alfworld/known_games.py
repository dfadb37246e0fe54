"""Write ``stepopsd_envs/alfworld/release.json``, the hashes with which ``stepopsd data alfworld`` compares.

``python -m benchmarks.alfworld.known_games --data-root DIR`` reads the official games below ``DIR``. They
must be the published games, freshly unpacked.
"""

import argparse
import json
import sys
from pathlib import Path

from stepopsd_envs.alfworld.official import find_files
from stepopsd_envs.alfworld.release import PUBLISHED, id_hash

RELEASE = Path(__file__).resolve().parents[2] / "stepopsd_envs" / "alfworld" / "release.json"
LENGTH = 16  # of the 32 digits of a hash; enough to detect damage


def main() -> int:
    """Read, hash, write; return 2 for bad input, else 0."""
    parser = argparse.ArgumentParser(description="Write the hashes of the published games.")
    parser.add_argument("--data-root", type=Path, required=True, help="folder with the official splits")
    parser.add_argument("--json", type=Path, default=RELEASE, help="file to write (default: release.json)")
    arguments = parser.parse_args()
    try:
        known = {
            split: {id_hash(game): game.digest[:LENGTH] for game in find_files(split, arguments.data_root)}
            for split in PUBLISHED
        }
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    arguments.json.write_text(json.dumps(known, indent=0, sort_keys=True) + "\n", encoding="utf-8")
    print(", ".join(f"{split}: {len(games)}" for split, games in known.items()) + f"; {arguments.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
