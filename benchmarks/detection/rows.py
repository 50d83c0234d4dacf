"""The rows of tables of motif detection: one method on one data set, scored; mean and spread over seeds."""

import json
import statistics
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from core.training import replacing
from genomics import MotifDetectionTask, SequenceClassificationData
from genomics.detection.data import SequenceDataset, collate


class Row(NamedTuple):
    """One method on one factor, with one seed.

    Args:
        val: AUROC on the validation part; nan where it is not measured.
        auroc, auprc: On the whole test part.
        apart: AUROC without the test peaks that share 24 letters with training or validation.
        minutes: CPU time of training; 0 for the baselines.
        score, target: Of the test part, (n,).
    """

    factor: str
    method: str
    seed: int
    parameters: int
    val: float
    auroc: float
    auprc: float
    apart: float
    minutes: float
    score: np.ndarray
    target: np.ndarray


def scores(task: MotifDetectionTask, part: SequenceDataset) -> np.ndarray:
    """Logits of a part."""
    found = []
    with torch.no_grad():
        for start in range(0, len(part), 256):
            batch = collate([part[k] for k in range(start, min(start + 256, len(part)))])
            found.append(task(batch.x, batch.lengths))
    return torch.cat(found).numpy()


def judged(factor: str, method: str, score: np.ndarray, data: SequenceClassificationData, **fields: Any) -> Row:
    """A row from the scores of the test part."""
    target = data.test_set.targets()
    kept = ~(data.seen(data.test_set) & (target == 1))
    return Row(
        factor,
        method,
        auroc=float(roc_auc_score(target, score)),
        auprc=float(average_precision_score(target, score)),
        apart=float(roc_auc_score(target[kept], score[kept])),
        score=score,
        target=target,
        **fields,
    )


def model_row(path: Path, factor: str, name: str, seed: int, data: SequenceClassificationData) -> Row:
    """Score best.ckpt of a run, and keep the scores beside it."""
    task = MotifDetectionTask.load_from_checkpoint(path / "best.ckpt", map_location="cpu", weights_only=True).eval()
    val, test = scores(task, data.val_set), scores(task, data.test_set)
    names = data.names_of(torch.from_numpy(data.test_set.items))
    with replacing(path / "scores.csv") as temporary:
        lines = [f"{n},{t},{s:.6f}" for n, t, s in zip(names, data.test_set.targets(), test, strict=True)]
        temporary.write_text("id,label,logit\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return judged(
        factor,
        name,
        test,
        data,
        seed=seed,
        parameters=sum(p.numel() for p in task.model.parameters()),
        val=float(roc_auc_score(data.val_set.targets(), val)),
        minutes=json.loads((path / "cpu_minutes.json").read_text("utf-8")),
    )


def table(rows: list[Row]) -> str:
    """Mean and standard deviation over seeds, one block of lines per factor."""
    head = ("factor", "method", "parameters", "seeds", "validation AUROC")
    head += ("test AUROC", "without overlap", "test AUPRC", "CPU min")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for factor in dict.fromkeys(row.factor for row in rows):
        for method in dict.fromkeys(row.method for row in rows if row.factor == factor):
            own = [row for row in rows if (row.factor, row.method) == (factor, method)]
            cells = [spread([getattr(row, name) for row in own]) for name in ("val", "auroc", "apart", "auprc")]
            parameters = f"{own[0].parameters:,}" if own[0].parameters else "-"
            seeds = len(own) if own[0].parameters else "-"
            minutes = f"{statistics.mean(row.minutes for row in own):.1f}" if own[0].parameters else "-"
            lines.append(f"| {factor} | {method} | {parameters} | {seeds} | {' | '.join(cells)} | {minutes} |")
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    """Mean ± standard deviation, four digits."""
    deviation = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4f}{deviation}"
