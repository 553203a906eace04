"""The learning curve: loss and validation skill by epoch, with the epoch that was chosen."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from kflare.io.atomic import write_whole

__all__ = ["plot_learning_curve"]


def plot_learning_curve(epochs: Sequence[Mapping[str, float]], path: Path, *, title: str, chosen: int) -> None:
    """Draw the epochs of a run (`TrainingRun.epochs`) into a PNG; `chosen` is the epoch whose weights were kept."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    x = [row["epoch"] for row in epochs]
    # Colours of Okabe and Ito, distinguishable with any colour vision; line styles differ besides.
    upper.plot(x, [row["loss"] for row in epochs], color="#0072B2", label="training")
    upper.plot(x, [row["val_loss"] for row in epochs], color="#D55E00", linestyle="--", label="validation")
    upper.set(ylabel="weighted cross entropy", title=title)
    lower.plot(x, [row["val_tss"] for row in epochs], color="#D55E00", linestyle="--", label="validation")
    lower.set(ylabel="TSS at the best threshold", xlabel="epoch", ylim=(min(0.0, *(r["val_tss"] for r in epochs)), 1))
    for axes in (upper, lower):
        axes.axvline(chosen, color="0.5", linewidth=1, label=f"chosen: epoch {chosen}")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    write_whole(path, lambda file: figure.savefig(file, format="png", dpi=120))
