#!/usr/bin/env python3
"""Refuses a build whose bootstraps are for another processor than the template says.

    scripts/check_bootstraps.py ARCHITECTURE [BUILD_FOLDER]

Lambda accepts such a deployment and fails at the first call, with Runtime.InvalidEntrypoint.
"""

import pathlib
import struct
import sys

# e_machine of the ELF header: System V ABI, "Machine"; AWS's names for the architectures.
MACHINES = {62: "x86_64", 183: "arm64"}


def architecture_of(binary: pathlib.Path) -> str | None:
    """The architecture that an ELF file is for, in AWS's words; None if it is no ELF file."""
    header = binary.read_bytes()[:20]
    if len(header) < 20 or header[:4] != b"\x7fELF":
        return None
    byte_order = "<" if header[5] == 1 else ">"
    (machine,) = struct.unpack_from(f"{byte_order}H", header, 18)
    return MACHINES.get(machine, f"ELF machine {machine}")


def main() -> None:
    wanted = sys.argv[1]
    folder = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else ".aws-sam/build")
    bootstraps = sorted(folder.glob("*/bootstrap"))
    if not bootstraps:
        sys.exit(f"{folder} holds no bootstrap: run `make build`")
    wrong = {binary: found for binary in bootstraps if (found := architecture_of(binary)) != wanted}
    for binary, found in wrong.items():
        processor = found or "no processor: not an ELF file"
        print(f"{binary} is for {processor}, the template says {wanted}", file=sys.stderr)
    if wrong:
        sys.exit(f"Build and deploy must name the same architecture: make build Architecture={wanted}")


if __name__ == "__main__":
    main()
