"""A foreign agency: `foreign.py --state DIR COMMAND ...`, with results as JSON.

Written against docs/PROTOCOL.md and the .proto files, and nothing else of the project.
"""

import argparse
import faulthandler
import json
import os
import sys
import traceback

import vectors

HANGS_S = 150


def parser():
    made = argparse.ArgumentParser()
    made.add_argument("--state", default=".")
    commands = made.add_subparsers(dest="command", required=True)
    commands.add_parser("vectors")
    command = commands.add_parser("enrol")
    command.add_argument("--broker", required=True)
    command.add_argument("--invitation", required=True)
    for name, options in {
        "ask": ("family", "given", "born", "holder", "category", "level"),
        "hold": ("family", "given", "born", "recipient", "category"),
        "answers": ("family", "given", "born", "recipient", "category"),
        "erase": ("request", "sealed"), "withdraw": ("consent",), "read_log": (), "follow": (),
        "statements": (), "exchange": ("holder",), "frames": (), "witness": (),
        "certificates": ("ca",),
    }.items():
        command = commands.add_parser(name)
        for option in options:
            command.add_argument(f"--{option}", required=True)
    return made


def run(options):
    if options.command == "vectors":
        for vector in vectors.ALL:
            vector()
        return [vector.__name__ for vector in vectors.ALL]
    # Later, since they need what protoc makes of the .proto files.
    import agency
    import honest
    import malicious
    import session

    if options.command == "enrol":
        made = agency.enrol(options.state, options.broker, options.invitation)
        return {"agency": made.name, "federation": made.federation, "index": made.about["joined"]}
    command = getattr(honest, options.command, None) or getattr(malicious, options.command)
    with session.Session(agency.Agency(options.state)) as stream:
        return command(stream, options)


def main():
    options = parser().parse_args()
    # Should it hang, its log says where.
    faulthandler.dump_traceback_later(HANGS_S)
    try:
        result = {"ok": True, "result": run(options)}
    except Exception as error:
        traceback.print_exc()
        result = {"ok": False, "error": f"{type(error).__name__}: {error}"}
    print(json.dumps(result), flush=True)
    sys.stderr.flush()
    # Not by the interpreter's own end, which waits for whatever threads gRPC has left.
    os._exit(0 if result["ok"] else 1)


if __name__ == "__main__":
    main()
