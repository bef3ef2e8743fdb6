"""Syntax errors are raised here, once, before the code is sent to many engines."""

from __future__ import annotations

import ast
import re
import warnings

from ... import _prompt

_ASYNC = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
_IPYTHON_SYNTAX = re.compile(r"^\s*(%|!|\?|.*[?]\s*$|.*=\s*[%!])", re.MULTILINE)  # perhaps


def check_syntax(code: str) -> None:
    """Raise the SyntaxError of source code, if the code has one for Python and for IPython."""
    shell = _prompt.ipython_shell()
    source = code
    if shell is not None:
        try:
            source = shell.input_transformer_manager.transform_cell(code)
        except SyntaxError:
            return  # raised by a transformation of this prompt; the engines may lack that transformation
    elif code[:1].isspace() or _IPYTHON_SYNTAX.search(code):
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the engines issue these warnings
        try:
            compile(source, "<code for the engines>", "exec", _ASYNC, dont_inherit=True)
        except (SyntaxError, ValueError, OverflowError, MemoryError, RecursionError) as e:
            if isinstance(e, SyntaxError):
                raise e.with_traceback(None) from None
