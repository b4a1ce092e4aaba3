"""Proofs as text: statements, subjects and the boxes of inputs they hold for."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from gatecheck.proofs.proof import Proof, ProofOutcome

OUTCOME_STYLES: dict[ProofOutcome, str] = {
    "proved": "green",
    "sampled": "cyan",
    "not proved": "yellow",
    "refuted": "bold red",
}
OUTCOME_WORDS: dict[ProofOutcome, str] = {
    "proved": "proved",
    "sampled": "held where tried",
    "not proved": "not proved",
    "refuted": "refuted",
}


def _group_proofs(proofs: Sequence[Proof]) -> list[tuple[ProofOutcome, str, str, list[Proof]]]:
    """Group proofs by outcome, subject and box of inputs."""
    groups: dict[tuple[ProofOutcome, str, str], list[Proof]] = {}
    for p in proofs:
        groups.setdefault((p.outcome, p.topic, p.box), []).append(p)
    return [(*key, group) for key, group in groups.items()]


def _detail(proof: Proof, details: bool) -> str:
    """Return why a proof failed, or with `details` also what carries it."""
    return proof.detail if details or proof.outcome in ("not proved", "refuted") else ""


def proof_sentences(proofs: Sequence[Proof]) -> list[str]:
    """Return one sentence for each outcome, subject and box of inputs."""
    return [
        f"{OUTCOME_WORDS[outcome]} of {of}, for {box}: "
        + "; ".join(": ".join(filter(None, (p.statement, _detail(p, False)))) for p in group)
        for outcome, of, box, group in _group_proofs(proofs)
    ]


def proofs_list(proofs: Sequence[Proof], *, details: bool = False) -> RenderableType:
    """Return one line per statement, grouped by outcome, subject and box of inputs.

    With `details`, each proof comes with what carries it; otherwise only failures are explained.
    """
    parts: list[RenderableType] = []
    for outcome, of, box, group in _group_proofs(proofs):
        parts.append(
            Padding(
                Text.assemble(
                    (OUTCOME_WORDS[outcome], OUTCOME_STYLES[outcome]), f" of {of}, for {box}:"
                ),
                (0, 0, 0, 2),
                expand=False,
            )
        )
        for p in group:
            detail = f" – {_detail(p, details)}" if _detail(p, details) else ""
            parts.append(
                Padding(Text.assemble(p.statement, (detail, "dim")), (0, 0, 0, 6), expand=False)
            )
    return Group(*parts)
