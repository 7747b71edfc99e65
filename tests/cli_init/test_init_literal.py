"""The reader of literal JavaScript: what it reads, node reads alike; what it cannot, it says with the line."""

import contextlib
import json
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerctl.cli.init_literal import NotLiteral, read_literal

FILE = """\
// module.exports = { apps: 'not this one' }
const unused = 1;
/* nor { this } */
module.exports = {
  apps: [
    {
      name: 'api', // a comment, with 'quotes'
      script: "./server.js",
      args: ['--port', "3000", `--dir=${'$'}x`],
      instances: -1,
      max_memory_restart: '1.5G',
      kill_timeout: 5_000,
      ratio: 1.5e1,
      mask: 0x1F,
      autorestart: true,
      watch: false,
      nothing: null,
      'quoted-key': 'it\\'s \\u4e2d\\u{6587} \\x41\\n',
      env: { NODE_ENV: 'production', 端口: "三千", },
    },
  ],
};
"""
PLAIN = FILE.replace("`--dir=${'$'}x`", "`--dir=x`")


def test_a_file_of_literals_is_read():
    [app] = read_literal(PLAIN)["apps"]
    assert app["name"] == "api"
    assert app["args"] == ["--port", "3000", "--dir=x"]
    assert (app["instances"], app["kill_timeout"], app["ratio"], app["mask"]) == (-1, 5000, 15.0, 31)
    assert (app["autorestart"], app["watch"], app["nothing"]) == (True, False, None)
    assert app["quoted-key"] == "it's 中文 A\n"
    assert app["env"] == {"NODE_ENV": "production", "端口": "三千"}


@pytest.mark.skipif(shutil.which("node") is None, reason="no node here")
def test_node_reads_the_same(tmp_path):
    (tmp_path / "x.js").write_text(PLAIN)
    code = "console.log(JSON.stringify(require(process.argv[1])))"
    done = subprocess.run(["node", "-e", code, tmp_path / "x.js"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == read_literal(PLAIN)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("module.exports = {\n  apps: [{\n    name: process.env.NAME }] }", 3, "'process' is no literal"),
        ("module.exports = { a: 'x' + 'y' }", 1, "an expression"),
        ("module.exports = {\n a: `x${1}` }", 2, "template"),
        ("module.exports = () => ({})", 1, "no literal"),
        ("module.exports = { a: 'x\n' }", 1, "a string without an end"),
        ("module.exports = { ...base }", 1, "expected a key"),
        ("module.exports = { a }", 1, "expected a value"),
        ("module.exports = { a: 1 }; more()", 1, "more than one"),
        ("", 1, "no literal"),
    ],
)
def test_what_only_javascript_can_evaluate_is_refused_with_its_line(text, line, reason):
    with pytest.raises(NotLiteral, match=f"line {line}: .*{reason}"):
        read_literal(text)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc 中-", max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_json_is_read_as_json(value):
    assert read_literal(json.dumps(value)) == value
    assert read_literal(f"module.exports = {json.dumps(value, ensure_ascii=False)};") == value


@given(st.text(max_size=60))
def test_no_text_brings_anything_but_a_value_or_a_refusal(text):
    with contextlib.suppress(NotLiteral):
        read_literal(text)
