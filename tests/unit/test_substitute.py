"""`${{ ... }}` in text."""

from __future__ import annotations

import pytest

from ci_env.pipeline.substitute import MAX_TEXT_BYTES, ExpressionError, Scope, substitute

SCOPE = Scope({"python": "3.12", "os": "debian"}, {"HOME": "/root", "BRACES": "${{ job.name }}"}, "test")


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("", ""),
        ("plain $HOME ${HOME} $$ {{ x }}", "plain $HOME ${HOME} $$ {{ x }}"),
        ("python:${{ matrix.python }}-slim", "python:3.12-slim"),
        ("${{matrix.os}}${{  env.HOME\n}}", "debian/root"),
        ("${{ job.name }} ${{ job.name }}", "test test"),
        ("${{ env.BRACES }}", "${{ job.name }}"),
        ("$${{ job.name }}", "$test"),
    ],
)
def test_expressions_are_replaced_once(text: str, result: str) -> None:
    assert substitute(text, SCOPE) == result


@pytest.mark.parametrize(
    ("text", "expression", "message"),
    [
        (
            "a ${{ matrix.pyton }} b",
            "${{ matrix.pyton }}",
            "unknown expression `${{ matrix.pyton }}`; did you mean `matrix.python`?",
        ),
        (
            "${{ matrix.zzzzzz }}",
            "${{ matrix.zzzzzz }}",
            "unknown expression `${{ matrix.zzzzzz }}`; the job `test` has no such key in its `matrix`",
        ),
        (
            "${{ env.QQQQ }}",
            "${{ env.QQQQ }}",
            "unknown expression `${{ env.QQQQ }}`; no `env` of the file sets it above this place",
        ),
        (
            "${{ secrets.X }}",
            "${{ secrets.X }}",
            "unknown expression `${{ secrets.X }}`; there are `matrix.NAME`, `env.NAME` and `job.name`",
        ),
        ("${{ 1 +\t\x1b1 }}", "${{ 1 +\t\x1b1 }}", ("unknown expression `${{ 1 + ?1 }}`; there are "
        "`matrix.NAME`, `env.NAME` "
         "and `job.name`")),
        ("${{}}", "${{}}", "unknown expression `${{}}`; there are `matrix.NAME`, `env.NAME` and `job.name`"),
        ("${{ job.name }", "${{", "`${{` without its `}}`"),
        ("${{ job.name }} ${{", "${{", "`${{` without its `}}`"),
    ],
)  # fmt: skip
def test_unknown_expressions_are_refused(text: str, expression: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        substitute(text, SCOPE)
    assert (caught.value.expression, str(caught.value)) == (expression, message)


def test_result_cannot_grow_without_bound() -> None:
    scope = Scope({}, {"A": "x" * 1000}, "test")
    assert len(substitute("${{ env.A }}" * 131, scope)) == 131_000
    with pytest.raises(ExpressionError, match=f"the text becomes longer than {MAX_TEXT_BYTES} bytes"):
        substitute("${{ env.A }}" * 132, scope)
