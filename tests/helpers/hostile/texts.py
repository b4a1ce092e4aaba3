"""Hostile TOML, JSON and CSV."""

import json

DIGITS = 5000
"""Digits of a number: Python does not print one of more than 4300."""


def long_lists(keys, length):
    """Return a spec whose lists have length to the power of `keys` combinations."""
    names = ("hidden", "inputs", "input_std", "init")[:keys]
    cell = 'cell = "rnn"\n' + ('init = "uniform"\n' if keys < 4 else "")
    lists = {
        name: [f"chrono:{k + 10}" if name == "init" else k + 1 for k in range(length)]
        for name in names
    }
    return "[[network]]\n" + cell + "".join(f"{k} = {json.dumps(v)}\n" for k, v in lists.items())


SPECS = {
    "three lists of 2000": long_lists(3, 2000),
    "four lists of 55": long_lists(4, 55),
    "lists of training": "[[training]]\n"
    'cell = ["rnn", "gru", "lstm"]\n'
    f"task = {json.dumps(['copy', 'adding', 'agreement'] * 100)}\n"
    f"lag = {json.dumps(list(range(1, 2001)))}\nhidden = {json.dumps(list(range(1, 2001)))}\n",
    "many tables of lists": long_lists(3, 45) * 40,
    "seeds of each": "seeds = 100000\n" + long_lists(2, 99),
    "hexadecimal cell": f"[[network]]\ncell = 0x{'f' * DIGITS}\n",
    "mistake in the last of many lines": "".join(f"# {k}\n" for k in range(5000))
    + "nonsense = 1\n",
    "mistake in a list of many lines": "hidden = [\n" + "1,\n" * 5000 + '"x"]\n',
    "mistake after many tables": '[[network]]\ncell = "rnn"\ninit = "uniform"\n' * 500
    + "[measure]\nnonsense = 1\n",
}

TOML = {
    "hexadecimal number": f"timeout = 0x{'f' * DIGITS}\n",
    "binary number": f"timeout = 0b{'1' * 20 * DIGITS}\n",
    "octal numbers in a list": f"timeout = [{f'0o{chr(55) * DIGITS}, ' * 20}]\n",
    "decimal number": f"timeout = {'9' * DIGITS}\n",
    "lists in lists": "timeout = " + "[" * 10**5 + "\n",
    "tables in tables": "timeout = " + "{a=" * 50_000 + "\n",
    "dotted key": ".".join("a" * 30_000) + " = 1\n",
    "quoted dotted key": ".".join(['"a"', "'b'"] * 10_000) + " = 1\n",
    "dotted header": "[" + " . ".join("a" * 30_000) + "]\n",
    "dotted key in a table": "timeout = {" + ".".join("a" * 30_000) + " = 1}\n",
    "large text": "# " + "x" * 2**24 + "\n",
    "large string": 'timeout = "' + "x" * 2**23 + '"\n',
}

JSON = {
    "lists in lists": "[" * 10**5,
    "objects in objects": '{"a":' * 10**5,
    "empty lists": '{"a": [' + "[]," * 3 * 10**6 + "[]]}",
    "empty objects": '{"a": [' + "{}," * 3 * 10**6 + "{}]}",
    "zeros": '{"a": [' + "0," * 4 * 10**6 + "0]}",
    "decimal number": '{"a": [' + "9" * DIGITS + "]}",
    "huge shape": '{"a": {"shape": [1152921504606846976, 0], "values": []}}',
}

CSV = {
    "one line": "1," * 500_000,
    "lines": "\n" * 10**6,
    "quoted cell": '"' + "x" * 10**6,
    "long header": "a\n" * 10 + "," * 10**6,
}
