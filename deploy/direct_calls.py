"""Have compiled modules call what is written in C as one function of C calls another.

The C modules can be imported, and are, where nothing is compiled. Between compiled modules and them that is a long way round:
numbers become objects, the interpreter calls, they become numbers again; 80 to 150 instructions for each call, ten of which
are on a query's way. mypyc has a table of functions that it knows in C (its own are in `mypyc.primitives`), and what is
added to that is called directly. A call that does not fit, say with a memoryview for bytes, goes the long way by itself.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

MACRO: Final = "GATEHOUSE_DIRECT_CALLS"
"""Defined where the sources are compiled for this."""
HEADER: Final = "gatehouse_direct_calls.h"


class DirectCall(NamedTuple):
    """A function of C, and what it is in Python; the types are those of `_IN_C`. A count is negative for failure."""

    python: str
    c: str
    arguments: tuple[str, ...]
    result: str


CALLS: Final = (
    DirectCall("proxy.net.system.receive", "gatehouse_receive", ("descriptor",), "bytes or None"),
    DirectCall("proxy.net.system.send", "gatehouse_send", ("descriptor", "bytes"), "count"),
    *(
        (
            DirectCall("proxy.net.system.look", "gatehouse_look", ("descriptor", "float"), "count"),
            DirectCall("proxy.net.system.found", "gatehouse_found", ("number",), "count"),
            DirectCall("time.monotonic", "gatehouse_monotonic", (), "float"),
        )
        if sys.platform == "linux"
        else ()
    ),
    DirectCall("proxy.guard.shapes.has_shape", "gatehouse_has_shape", ("bytes", "number", "number", "bytes"), "bool"),
    DirectCall("proxy.client.chunks.look_at_batch", "gatehouse_look_at_batch", ("bytes", "bytes"), "number"),
    DirectCall("proxy.client.chunks.assemble", "gatehouse_assemble", ("bytes", "bytes", "bytes", "number"), "bytes"),
    DirectCall(
        "proxy.server.expected.clients_part",
        "gatehouse_clients_part",
        ("bytes", "bytes", "number", "number", "bytes"),
        "bytes",
    ),
)

_IN_C: Final = {
    "descriptor": "int",
    "number": "int64_t",
    "count": "int64_t",
    "float": "double",
    "bool": "char",
    "bytes": "PyObject *",
    "bytes or None": "PyObject *",
}


def arrange(sources: Iterable[str], folder: Path) -> list[str]:
    """Tell mypyc of the calls; returns what is to be compiled along with what it makes, put into `folder`."""
    from mypyc.ir.deps import HeaderDep
    from mypyc.ir.ops import ERR_MAGIC, ERR_NEVER
    from mypyc.ir.rtypes import (
        RUnion,
        bool_rprimitive,
        bytes_rprimitive,
        float_rprimitive,
        int64_rprimitive,
        none_rprimitive,
    )
    from mypyc.primitives.registry import ERR_NEG_INT, function_op, function_ops

    types = {
        "descriptor": int64_rprimitive,
        "number": int64_rprimitive,
        "count": int64_rprimitive,
        "float": float_rprimitive,
        "bool": bool_rprimitive,
        "bytes": bytes_rprimitive,
        "bytes or None": RUnion([bytes_rprimitive, none_rprimitive]),
    }
    failures = {"count": ERR_NEG_INT, "number": ERR_NEVER, "float": ERR_NEVER}
    header, wrapped = write(sources, folder)
    for call in CALLS:
        function_ops.pop(call.python, None)  # from an earlier build in this process
        function_op(
            name=call.python,
            arg_types=[types[argument] for argument in call.arguments],
            return_type=types[call.result],
            c_function_name=call.c,
            error_kind=failures.get(call.result, ERR_MAGIC),
            dependencies=[HeaderDep(str(header.resolve()), internal=False)],
        )
    return [str(path) for path in wrapped]


def write(sources: Iterable[str], folder: Path) -> tuple[Path, list[Path]]:
    """The header, and each source once more, to be compiled with it: an object of its own beside the module's."""
    folder.mkdir(parents=True, exist_ok=True)
    header = folder / HEADER
    header.write_text(_header())
    wrapped = []
    for source in sources:
        wrapped.append(folder / f"direct{Path(source).name}")
        wrapped[-1].write_text(f'#define {MACRO}\n#include "{Path(source).resolve()}"\n')
    return header, wrapped


def ensure_used(folder: Path) -> None:
    """Raises RuntimeError if mypyc has made nothing of one: a type does not fit, or mypyc has changed."""
    made = "".join(path.read_text() for path in folder.rglob("__native*.c"))
    unused = [call.python for call in CALLS if f" {call.c}(" not in made]
    if unused:
        raise RuntimeError(f"not called directly: {', '.join(unused)}")


def _header() -> str:
    lines = [
        f"{_IN_C[call.result]} {call.c}({', '.join(_IN_C[argument] for argument in call.arguments) or 'void'});"
        for call in CALLS
    ]
    return "\n".join(
        (
            "#ifndef GATEHOUSE_DIRECT_CALLS_H",
            "#define GATEHOUSE_DIRECT_CALLS_H",
            "#include <Python.h>",
            "#pragma GCC visibility push(hidden)",
            *lines,
            "#pragma GCC visibility pop",
            "#endif",
            "",
        )
    )
