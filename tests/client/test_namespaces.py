"""A view as a dict of its engines' names: listing and deleting names, attributes, completion."""

from __future__ import annotations

import time

import pytest
from conftest import occupied

from mpidirect import Client, CompositeError
from mpidirect.client.views import namespaces

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI


def completions(shell, text):
    """Return the completions of a tab after `text`."""
    from IPython.core.completer import provisionalcompleter

    with provisionalcompleter():
        return [c.text for c in shell.Completer.completions(text, len(text))]


def test_the_names_are_those_that_the_user_has_set(dview):
    assert dview.keys() == list(dview) == []
    dview["b"] = 1
    dview.execute("import math\ndef f(): pass\n_private = 1", block=True)
    dview.scatter("a", range(8), block=True)
    assert dview.keys() == list(dview) == ["b", "math", "f", "a"]
    dview.clear(block=True)
    assert dview.keys() == []


def test_names_of_ipython_are_left_out_but_not_those_that_the_user_sets_anew(dview):
    pytest.importorskip("IPython")
    dview.execute("1", silent=False, block=True)
    assert dview.keys() == []
    dview["exit"] = "mine"
    assert dview.keys() == ["exit"]


def test_names_sent_with_code_are_not_listed(dview, main):
    exec("import math\ndef helper(x): return math.floor(x)\ndef f(): return helper(1.5)", main.__dict__)
    assert dview.apply_sync(main.f) == [1] * 4
    dview.execute("1", block=True)
    assert dview.keys() == []
    assert ("helper" in dview, "math.pi" in dview) == (False, False)
    with pytest.raises(CompositeError, match="NameError"):
        del dview["helper"]
    dview.execute("import math", block=True)
    assert dview.keys() == ["math"]
    assert "math.pi" in dview


def test_names_are_those_that_all_engines_have(rc):
    rc[:]["a"] = 1
    rc[2]["b"] = 2
    assert rc[:].keys() == ["a"]
    assert rc[2].keys() == ["a", "b"]
    assert ("a" in rc[:], "b" in rc[:], "b" in rc[2]) == (True, False, True)
    assert [name in rc[:] for name in ("rank", "nothing", "not a name", "len", "a.b")] == [True, *[False] * 4]
    with pytest.raises(TypeError, match="strings"):
        assert 5 in rc[:]


def test_dicts_of_names(rc):
    dview = rc[:2]
    dview.update({"a": 1, "b": [2]})
    assert dict(dview) == {"a": [1, 1], "b": [[2], [2]]}
    assert dview.items() == [("a", [1, 1]), ("b", [[2], [2]])]
    assert dview.values() == [[1, 1], [[2], [2]]]
    assert dict(rc[0]) == dict(rc[0].items()) == {"a": 1, "b": [2]}
    assert rc[3].items() == rc[:].items() == []


def test_deleting(rc):
    dview = rc[:]
    dview["a"] = 1
    del dview["a"]
    assert "a" not in dview
    rc[1]["a"] = 1
    with pytest.raises(CompositeError, match=r"\[0:del\]: NameError: name 'a' is not defined"):
        del dview["a"]
    for name, kind in (("a b", ValueError), (5, TypeError)):
        with pytest.raises(kind):
            del dview[name]


def test_names_with_dots_are_attributes(dview):
    dview.execute("import types; a = types.SimpleNamespace(b=types.SimpleNamespace())", block=True)
    dview["a.b.c"] = 3
    dview.push({"a.d": 4}, block=True)
    assert (dview["a.b.c"], dview["a.d"]) == ([3] * 4, [4] * 4)
    assert ("a.b.c" in dview, "a.b.x" in dview) == (True, False)
    assert dview.keys() == ["types", "a"]
    dview.scatter("a.part", range(8), block=True)
    assert dview.gather("a.part", block=True) == list(range(8))
    del dview["a.b.c"]
    assert "a.b.c" not in dview
    with pytest.raises(CompositeError, match="no attribute"):
        dview.push({"a.x.y": 1}, block=True)
    with pytest.raises(ValueError, match="identifier"):
        dview["a."] = 1
    with pytest.raises(ValueError, match="identifier"):
        dview.push({"a.b": 1}, shared=True)


@pytest.mark.parametrize("name", ["class", "None", "a.class", "class.a"])
def test_keywords_are_no_names(dview, name):
    for change in (dview.__setitem__, dview.scatter, lambda key, _: dview.__delitem__(key)):
        with pytest.raises(ValueError, match="is a keyword of Python"):
            change(name, [3])
    assert dview.history == []


def test_a_syntax_error_in_an_expression_is_raised_before_sending(dview):
    for text in ("a b", "", "a[", "class"):
        with pytest.raises(SyntaxError):
            dview[text]
    assert dview.history == []


def test_attributes_of_a_view_are_not_its_engines_names(dview):
    with pytest.raises(AttributeError, match=r"view\['a'\] = "):
        dview.a = 5
    dview["a"] = 5
    with pytest.raises(AttributeError, match=r"view\['a'\]"):
        dview.a
    with pytest.raises(AttributeError):
        dview.blok = True
    dview.block, dview.track, dview.targets, dview.label = True, True, [0], "mine"


def test_queries_are_not_in_the_history(dview):
    result = dview.apply_async(lambda: 1)
    assert "a" not in dview
    assert dview.keys() == []
    assert dview._ipython_key_completions_() == []
    assert dview.history == dview.client.history == [result._calls[0].id]


def test_tab_in_ipython(prompt, dview, monkeypatch):
    monkeypatch.setattr(namespaces, "COMPLETION_TIMEOUT", 20)  # however loaded this host is
    prompt.names["dview"] = dview
    prompt("dview.update({'alpha': 1, 'beta': 2})")
    assert completions(prompt.shell, "dview['al") == ["alpha"]
    assert {"alpha", "beta"} <= set(completions(prompt.shell, 'dview["'))


def test_a_tab_does_not_wait_for_busy_engines(dview, tmp_path):
    running = dview.apply_async(occupied(tmp_path))
    start = time.monotonic()
    assert dview._ipython_key_completions_() == []
    assert time.monotonic() - start < 20
    (tmp_path / "go on").touch()
    running.get(30)


def test_a_tab_without_a_cluster_offers_nothing(cluster):
    with Client(str(cluster.connection_file)) as rc:
        view, nobody = rc[:], rc[0:0]
        assert nobody._ipython_key_completions_() == []
    assert view._ipython_key_completions_() == []


def test_tab_shows_what_is_for_users(rc, dview):
    shown = {name for name in dir(rc) if not name.startswith("_")}
    assert not shown & {"answered", "engines_changed", "forgotten", "lost", "moved", "replied", "taken"}
    documented = [type(rc), type(dview), type(dview.apply_async(int))]
    for kind in documented:
        for name in dir(kind):
            if not name.startswith("_"):
                assert getattr(kind, name).__doc__, name
