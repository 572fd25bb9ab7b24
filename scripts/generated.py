"""A generated part of a Markdown file, between two comments: written anew, or compared."""

import argparse
import pathlib
import re
import sys
from collections.abc import Callable


def write_or_check(description: str, part: re.Pattern[str], generate: Callable[[re.Match[str]], str]) -> None:
    """The command line of a script that generates `part`, whose groups `begin` and `end` stay as they are.

    `description` is the script's own docstring.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if the file is out of date")
    parser.add_argument("file", type=pathlib.Path)
    arguments = parser.parse_args()
    before = arguments.file.read_text()
    after, count = part.subn(lambda match: f"{match['begin']}{generate(match)}{match['end']}", before)
    if not count:
        sys.exit(f"{arguments.file} has no place for it\n\n{description}")
    if arguments.check:
        if after != before:
            sys.exit(f"{arguments.file} is out of date. Run: make docs")
    elif after != before:
        arguments.file.write_text(after)
