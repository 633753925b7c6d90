"""A process that has imported JAX and all of cold_jax once, and runs each command in a fork of itself: as in a process of its own, without the seconds of imports.

Started by runs.run: one for all commands of a worker. It reads a JSON object a line (module, arguments, cwd, environment, first, out, err) and answers each with its exit code.
"""

import importlib
import json
import os
import pkgutil
import runpy
import sys
import traceback
import warnings

import cold_jax


def main() -> None:
    for module in pkgutil.walk_packages(cold_jax.__path__, "cold_jax."):
        if not module.name.endswith(("__main__", "lexical", "search")):  # bm25s starts JAX's devices when it is imported
            importlib.import_module(module.name)
    for line in sys.stdin:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads that no import has started work in
            child = os.fork()
        if child == 0:
            os._exit(_command(json.loads(line)))
        print(json.dumps(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])), flush=True)


def _command(given: dict) -> int:
    os.setsid()
    os.chdir(given["cwd"])
    os.environ.clear()
    os.environ.update(given["environment"])
    for name, number in (("out", 1), ("err", 2)):
        os.dup2(os.open(given[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = ["", *given["arguments"]]
    code = 0
    exec(given["first"], {})
    sys.modules.pop(f"cold_jax.{given['module']}", None)  # runpy warns of what is imported already
    try:
        runpy.run_module(f"cold_jax.{given['module']}", run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    main()
