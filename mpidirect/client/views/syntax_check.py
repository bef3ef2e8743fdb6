"""Raise syntax errors here, once, before the code is sent to many engines."""

from __future__ import annotations

import ast
import copy
import re
import warnings
from typing import Any

from ... import _prompt

_ASYNC = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
# a word, and a rest that does not make it a variable
_WORD = re.compile(r"([a-zA-Z_]\w*)(?:[ \t]+[^=,\s].*)?")
_IPYTHON_SYNTAX = re.compile(r"^\s*(%|!|\?|.*[?]\s*$|.*=\s*[%!])", re.MULTILINE)  # possible IPython syntax


def check_syntax(code: str) -> None:
    """Raise the SyntaxError of source code, if the code has one for Python and for IPython."""
    shell = _prompt.ipython_shell()
    source = code
    if shell is not None:
        if _may_be_magic(code, shell):
            return
        try:
            source = _transformed(code, shell)
        except SyntaxError:
            return  # raised by a transformation of this prompt, which the engines may not have
    elif code[:1].isspace() or _IPYTHON_SYNTAX.search(code):
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the engines issue these warnings
        try:
            compile(source, "<code for the engines>", "exec", _ASYNC, dont_inherit=True)
        except (SyntaxError, ValueError, OverflowError, MemoryError, RecursionError) as e:
            if isinstance(e, SyntaxError):
                raise e.with_traceback(None) from None


def _transformed(code: str, shell: Any) -> str:
    """Return the Python that IPython makes of a cell, without the magics that send a cell to the engines."""
    manager = copy.copy(shell.input_transformer_manager)
    manager.cleanup_transforms = [
        each for each in manager.cleanup_transforms if not getattr(each, "has_side_effects", False)
    ]
    transformed: str = manager.transform_cell(code)
    return transformed


def _may_be_magic(code: str, shell: Any) -> bool:
    """Return whether the code may be a line like ``cd /tmp``: a magic without its percent sign."""
    found = _WORD.fullmatch(code.strip())
    return found is not None and shell.find_line_magic(found[1]) is not None
