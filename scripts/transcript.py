"""python scripts/transcript.py FILE.md: runs the commands of a page, and writes what they print below them.

Each block ```sh is run by bash, in the page's order and in one empty folder, where `python` is the one that runs this. A block ```text that follows
it gets the output without stderr: blank ends of lines cut, and at most the lines that its first line allows, as in ```text lines=12. What is left
out is counted in the block's last line. A command that fails ends it.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BLOCKS = re.compile(
    r"^```sh\n(?P<commands>.*?)^```\n+(?:```text lines=(?P<lines>\d+)\n(?P<output>.*?)^```\n)?", re.MULTILINE | re.DOTALL
)
WIDTH = 110  # columns of a table


def shorten(output: str, lines: int) -> str:
    """The first lines of an output, and how many more there were."""
    every = [line.rstrip() for line in output.rstrip().splitlines()]
    more = len(every) - lines
    return "".join(f"{line}\n" for line in every[:lines]) + (f"[{more} more line{'s' * (more > 1)}]\n" if more > 0 else "")


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    page = Path(sys.argv[1])
    bin_path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": bin_path, "PYTHONPATH": str(ROOT), "COLUMNS": str(WIDTH), "NO_COLOR": "1"}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "scripts").symlink_to(ROOT / "scripts")

        def filled(block: re.Match[str]) -> str:
            print(block["commands"], end="", flush=True)
            done = subprocess.run(
                ["bash", "-euc", block["commands"]], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
            )
            if done.returncode:
                sys.exit(f"exit code {done.returncode}")
            if block["lines"] is None:
                return block[0]
            start, end = (at - block.start() for at in block.span("output"))
            return block[0][:start] + shorten(done.stdout, int(block["lines"])) + block[0][end:]

        page.write_text(BLOCKS.sub(filled, page.read_text()))


if __name__ == "__main__":
    main()
