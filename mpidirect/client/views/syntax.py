"""Code that can't be right is told of here, once, before it is sent to many engines."""

from __future__ import annotations

import ast
import re
import warnings

from ... import _prompt

_ASYNC = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
_OTHER = re.compile(r"^\s*(%|!|\?|.*[?]\s*$|.*=\s*[%!])", re.MULTILINE)  # what may be IPython's alone


def check(code: str) -> None:
    """Raise the SyntaxError of source code, if it has one for Python and IPython."""
    shell = _prompt.ipython_shell()
    source = code
    if shell is not None:
        try:
            source = shell.input_transformer_manager.transform_cell(code)
        except SyntaxError:
            return  # a transformation of this prompt's, which the engines may not have
    elif code[:1].isspace() or _OTHER.search(code):
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the engines give them
        try:
            compile(source, "<code for the engines>", "exec", _ASYNC, dont_inherit=True)
        except (SyntaxError, ValueError, OverflowError, MemoryError, RecursionError) as e:
            if isinstance(e, SyntaxError):
                raise e.with_traceback(None) from None
