"""Text of the ``README.md`` in a folder of test vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gatecheck.report.vectors_table import certified_line, undetected_lines

_PYTHON_EXAMPLE = """\
# answer.py, run in this folder. my_cell.run is your code: it returns {"y": …, "hT": …} and any
# other results listed above.
import json
from pathlib import Path

import numpy as np
from my_cell import run

Path("answers").mkdir(exist_ok=True)
for case in json.loads(Path("manifest.json").read_text())["cases"]:
    with np.load(f"cases/{case['name']}.npz") as file:
        arrays = dict(file)
    params = {name: arrays[name] for name in case["parameters"]}
    # x, the cotangents, and the states that are not absent
    inputs = {name: arrays[name] for name in case["inputs"]}
    np.savez(f"answers/{case['name']}.npz", **run(case["cell"], params, **inputs))
"""

_C_EXAMPLE = r"""
/* read.c: print an array of a case, one number per line.
   cc -o read read.c && ./read cases/CASE.json inputs x */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Return the values of an array, or NULL if there is none; section is "inputs" or "expected".
   The caller frees them. */
static double *values(const char *json, const char *section, const char *name, size_t *count) {
    char key[256];
    snprintf(key, sizeof key, "\"%s\": {", section);
    const char *p = strstr(json, key);
    snprintf(key, sizeof key, "\n\"%s\": {", name);
    const char *end = p ? strstr(p, "\n}") : NULL;
    p = p ? strstr(p, key) : NULL;
    if (!p || p > end || !(p = strstr(p, "\"values\": ["))) return NULL;
    size_t room = 16;
    double *out = malloc(room * sizeof *out);
    *count = 0;
    for (p += 11; out && *p != ']';) {
        if (strchr("\", ", *p)) { p++; continue; }
        char *next;
        double value = strtod(p, &next); /* reads hexadecimal floats since C99 */
        if (next == p) break;
        p = next;
        if (*count == room) out = realloc(out, (room *= 2) * sizeof *out);
        if (out) out[(*count)++] = value;
    }
    return out;
}

int main(int argc, char **argv) {
    if (argc != 4)
        return fprintf(stderr, "usage: read cases/CASE.json inputs|expected NAME\n"), 2;
    FILE *file = fopen(argv[1], "rb");
    if (!file) return perror(argv[1]), 2;
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    char *json = calloc((size_t)size + 1, 1);
    size_t count = 0;
    if (!json || fread(json, 1, (size_t)size, file) != (size_t)size) return 2;
    double *array = values(json, argv[2], argv[3], &count);
    if (!array) fprintf(stderr, "%s: no %s %s\n", argv[1], argv[2], argv[3]);
    for (size_t k = 0; array && k < count; k++) printf("%a\n", array[k]);
    fclose(file), free(json), free(array);
    return !array;
}
""".lstrip()


def _format_shapes(row: Mapping[str, Any], cell_results: Mapping[str, Any]) -> str:
    return ", ".join(f"`{name}` {tuple(shape)}" for name, shape in {**row, **cell_results}.items())


def _cell_section(manifest: Mapping[str, Any], cell: str) -> str:
    row = next(c for c in manifest["cases"] if c["cell"] == cell)
    sizes = ", ".join(f"{k} = {v}" for k, v in row["sizes"].items())
    return f"""\
### {cell}

The arrays of `{row["name"]}`, where {sizes}:

- parameters: {_format_shapes(row["parameters"], {})}
- inputs: {_format_shapes(row["inputs"], {})}
- results: {_format_shapes(row["results"], {})}
"""


def readme(manifest: Mapping[str, Any]) -> str:
    """Return the text for a manifest."""
    cells = "\n".join(_cell_section(manifest, cell) for cell in manifest["cells"])
    hidden = "\n".join(f"- {line}" for line in undetected_lines(manifest))
    version = manifest["versions"].get("gatecheck", "")
    certified = certified_line(manifest)
    return f"""\
# Test vectors for recurrent cells

{len(manifest["cases"])} cases in {manifest["dtype"]}, with parameters in the convention
`{manifest["convention"]}`, written by gatecheck {version} (seed {manifest["seed"]}).
Run your cell on each case, write its answers to this folder, and check them:

```sh
gatecheck vectors check .
```

## Files

`manifest.json` lists the cases with their shapes and checksums. Each case is stored twice, with the
same numbers: as `cases/CASE.npz` for NumPy, and as `cases/CASE.json`, where every number is a
hexadecimal float such as `"0x1.8p+1"`, which is exact and can be read by C's `strtod`, Python's
`float.fromhex` and many others. Arrays are in row-major (C) order: the last index runs fastest.

- `inputs`: the parameters, `x` (T, B, D), the initial states `h0`, `c0`, and the cotangents `dy`,
  `dhT`, `dcT`. An absent state is zero. If there are `lengths`, row b ends after `lengths[b]`
  steps: its state is then held, and its `y` is zero.
- `expected`: `y` (T, B, H), the last states `hT`, `cT`, and the gradients of the sum of
  `dy*y + dhT*hT + dcT*cT`: `dNAME` for each parameter and for `x`, `h0` and `c0`. Each comes with
  an entrywise `tolerance`: by how much correct code in {manifest["dtype"]} may differ.
  {certified[0].upper()}{certified[1:]}.
  In the `.npz` these arrays are called `expected.y`, `tolerance.y` and so on.

{cells}
## Answers

Write one file per case, `answers/CASE.npz` or `answers/CASE.json`, with the arrays of `expected`
under the same names and of the same shapes. Gradients are optional; if one is given, all of the
case are required, except those of absent states. In JSON, an array is nested lists, or an object of
`"shape"` and flat `"values"`; a number is decimal (17 digits are exact) or a hexadecimal float in a
string (C: `printf("\\"%a\\"", value)`):

```json
{{"y": [[[0.25, -0.5]]], "hT": {{"shape": [1, 2], "values": ["0x1p-2", "-0x1p-1"]}}}}
```

## In Python

```python
{_PYTHON_EXAMPLE}```

## In C

```c
{_C_EXAMPLE}```

## Faults that these cases cannot reveal

{hidden}
"""
