"""Proofs in words: what was proven of what, for all of which inputs."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from gatecheck.proofs.proof import Outcome, Proof

STYLES: dict[Outcome, str] = {
    "proved": "green",
    "sampled": "cyan",
    "not proved": "yellow",
    "refuted": "bold red",
}
WORDS: dict[Outcome, str] = {
    "proved": "proved",
    "sampled": "held where tried",
    "not proved": "not proved",
    "refuted": "refuted",
}


def _grouped(proofs: Sequence[Proof]) -> list[tuple[Outcome, str, str, list[Proof]]]:
    """By outcome, what they are about, and what they are claimed for."""
    groups: dict[tuple[Outcome, str, str], list[Proof]] = {}
    for p in proofs:
        groups.setdefault((p.outcome, p.of, p.box), []).append(p)
    return [(*key, group) for key, group in groups.items()]


def _detail(proof: Proof, details: bool) -> str:
    """What carries a proof, if that is asked for; why there is none in any case."""
    return proof.detail if details or proof.outcome in ("not proved", "refuted") else ""


def sentences(proofs: Sequence[Proof]) -> list[str]:
    """One sentence for what has one outcome, of one thing, for one box."""
    return [
        f"{WORDS[outcome]} of {of}, for {box}: {'; '.join(': '.join(filter(None, (p.says, _detail(p, False)))) for p in group)}"
        for outcome, of, box, group in _grouped(proofs)
    ]


def proofs_list(proofs: Sequence[Proof], *, details: bool = False) -> RenderableType:
    """A line a statement, under what it is about and for what; with `details` what carries each,
    else only why one fails.
    """
    parts: list[RenderableType] = []
    for outcome, of, box, group in _grouped(proofs):
        parts.append(
            Padding(
                Text.assemble((WORDS[outcome], STYLES[outcome]), f" of {of}, for {box}:"),
                (0, 0, 0, 2),
                expand=False,
            )
        )
        for p in group:
            detail = f" – {_detail(p, details)}" if _detail(p, details) else ""
            parts.append(
                Padding(Text.assemble(p.says, (detail, "dim")), (0, 0, 0, 6), expand=False)
            )
    return Group(*parts)
